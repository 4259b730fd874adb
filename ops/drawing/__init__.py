"""Drawing the contract's pictures with Mermaid in Chromium: `make board`, for developers alone."""
