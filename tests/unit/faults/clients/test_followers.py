from tests.faults.clients.followers import Sequences


def test_messages_that_overtake_others_count_when_those_have_come() -> None:
    sequences = Sequences()
    seen = []
    for sequence in (1, 3, 2, 5, 5, 1, 4):
        sequences.add(sequence)
        seen.append(sequences.all_up_to)
    assert seen == [1, 1, 3, 3, 3, 3, 5]
