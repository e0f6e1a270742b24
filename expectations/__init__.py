"""Data contracts: Great Expectations JSON suites and the small runner that applies them."""
