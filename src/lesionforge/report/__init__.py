"""Tables, figures and the page that compares the regimes."""
