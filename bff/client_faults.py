"""What is wrong with the client's keys and certificate: faults that only the files' contents show.

Pure but for the reading of the files that the settings name.
"""

from __future__ import annotations

from bff.client_settings import ClientSettings
from bff.environment import PREFIX
from bff.faults import EXAMPLES, Fault
from bff.oidc.client_keys import BadClientKeyError, ClientKeys, load_keys
from bff.oidc.mtls import BadCertificateError, ClientCertificate


def client_faults(settings: ClientSettings, prefix: str = PREFIX) -> list[Fault]:
    """Return every fault in keys and certificate; `prefix` begins the names of the variables."""
    found = _key_faults(settings) + _certificate_faults(settings)
    return [
        Fault(prefix + name.upper(), problem.replace(PREFIX, prefix), EXAMPLES[name])
        for name, problem in found
    ]


def certificate_of(settings: ClientSettings) -> ClientCertificate | None:
    """Return our TLS certificate, where there is one."""
    if settings.client_cert_file is None:
        return None
    return ClientCertificate(settings.client_cert_file, settings.client_cert_key_file)


def _key_faults(settings: ClientSettings) -> list[tuple[str, str]]:
    keys = ClientKeys()
    try:
        if settings.client_key_file is not None:
            keys = load_keys(settings.client_key_file)
    except BadClientKeyError as error:
        return [("client_key_file", str(error))]
    faults: list[tuple[str, str]] = []
    others = (settings.client_secret, settings.client_cert_file, settings.client_auth)
    alone = settings.client_key_file is not None and others == (None, None, None)
    if keys.signer is None and (settings.client_auth == "private_key_jwt" or alone):
        problem = "holds no key for signatures, and nothing else proves who we are"
        faults.append(("client_key_file", problem))
    if keys.signer is None and settings.request_object:
        faults.append(("request_object", "needs a key for signatures in BFF_CLIENT_KEY_FILE"))
    if not keys.decryption and settings.id_token_encryption == "required":  # noqa: S105 - a mode
        problem = "required needs a key for encryption in BFF_CLIENT_KEY_FILE"
        faults.append(("id_token_encryption", problem))
    return faults


def _certificate_faults(settings: ClientSettings) -> list[tuple[str, str]]:
    certificate = certificate_of(settings)
    if certificate is None:
        return []
    try:
        certificate.context()
        certificate.jwk()
    except BadCertificateError as error:
        return [("client_cert_file", str(error))]
    return []
