"""OpenID Connect, the relying party's side: requests built, answers judged, the provider called."""
