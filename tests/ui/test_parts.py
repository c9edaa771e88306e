"""Parts of the page without a browser: what the board is sent, what controls give back."""

import pytest

from playground.errors import UserError
from playground.requests import LaneRequest
from playground.ui.board import snapshot
from playground.ui.controls import chosen


def test_a_token_without_a_node_does_not_shift_the_nodes_of_others(tiny, request_of):
    lane = "rain:scorer=vader,max_inner=3,candidates=3,simulate=2"
    run = tiny.compare(request_of(lane, prompt="the fox", max_new_tokens=6))
    tokens = run["lanes"][0]["detail"]["tokens"]
    whole = [token["node"] for token in tokens]
    del tokens[1]["node"]
    assert snapshot(run)["lanes"][0]["nodes"] == [whole[0], None, *whole[2:]]


def test_an_emptied_text_is_no_default_and_an_emptied_number_is(tiny):
    schema = tiny.options_schema("rain")
    values = {name: field["default"] for name, field in schema["properties"].items()} | {"lengths": "", "top": None}
    options = chosen(schema, list(values.values()))
    assert "top" not in options
    with pytest.raises(UserError, match="lengths is ''"):
        LaneRequest(method="rain", options=options)
