"""The columns of tables whose cells need more than a number: animals, boxes, sites."""
