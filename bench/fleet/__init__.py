"""Many short clips through one host of a whole fleet, beside ``scan`` of the same clips."""
