"""Models from elsewhere: object stores, web servers and the Hugging Face Hub, fetched into the
models folder."""
