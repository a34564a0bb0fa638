"""How good a model is: labelled files screened as always, and error rates with their intervals."""
