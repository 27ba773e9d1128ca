"""Topics of titles: vectors → clusters → words → quality, and a rule for titles that come later."""
