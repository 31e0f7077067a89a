"""Every field of personal data has a rule that names its key."""

from contracts.catalogue import EVENTS
from contracts.personal_data.keys_of_fields import KEY_OF
from streams.personal_data.fields import fields_of


def test_each_field_of_personal_data_has_a_row_in_the_table_of_keys() -> None:
    names = {field.name for event_type in EVENTS.values() for field in fields_of(event_type)}
    assert names == set(KEY_OF), "KEY_OF in contracts/personal_data/keys_of_fields.py says which key seals each field"
