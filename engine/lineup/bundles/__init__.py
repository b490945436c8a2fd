"""The contract between export and engine: manifest, verification, store."""
