"""What connectors share on the network: TLS, the HTTP client with its errors sorted into ours."""
