"""Which network to choose: the search, its rewards, evaluators and data, and what it hands over."""
