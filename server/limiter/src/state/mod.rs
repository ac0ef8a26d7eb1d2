//! What is replicated.
