from tests.faults.clients.followers import Sequences


def test_messages_that_overtake_others_count_when_those_have_come() -> None:
    sequences = Sequences()
    counted = []
    for sequence in (1, 3, 2, 5, 5, 1, 4):
        sequences.add(sequence)
        counted.append(sequences.all_up_to)
    assert counted == [1, 1, 3, 3, 3, 3, 5]
