"""A method that no other file knows: its network, itself, a layout, a card, a config. `known` makes it known."""
