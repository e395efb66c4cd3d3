"""Which label should an expert look at next? Works for any classifier's embeddings."""
