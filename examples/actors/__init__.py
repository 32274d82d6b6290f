"""Two people who do not exist: their faces, skin, performances, and what a camera sees of them."""
