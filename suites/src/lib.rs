//! What is trained and what is claimed.
