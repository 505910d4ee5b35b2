"""The modules of the certification plans for relying parties, and the traps, each with its test.

A test is `file::function`, or `file::function[case]`, under `tests/`. A module without one is not
done, and says why. `python -m tests.hostile.modules` prints the tables of docs/standards.md.

Source: the conformance suite of the OpenID Foundation, its client test plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

ACCEPTED = "hostile/test_accepted.py::"
ANSWERS = "hostile/test_answers.py::"
FAPI = "hostile/test_fapi_security_profile.py::"
FORM = "hostile/test_form_post.py::"
ID = "hostile/test_id_tokens.py::"
LOGOUT = "hostile/test_logout_plans.py::"
SIGNED = "hostile/test_message_signing.py::"
TOKENS = "hostile/test_logout_tokens.py::"
TRAPS = "hostile/test_traps.py::"
REFRESH = "hostile/test_refresh_plan.py::"
NOT_DONE = "not done: "

POISONED = f"{ID}test_a_poisoned_id_token_makes_no_session"
LOGOUT_POISONED = f"{TOKENS}test_a_poisoned_logout_token_ends_nothing"
CODE = "oidcc-client-test"
BACK = "oidcc-client-test-rp-backchannel"
PROFILE = "fapi2-security-profile-final-client-test"
SIGNING = "fapi2-message-signing-final-client-test"
NO_HYBRID = f"{NOT_DONE}tokens in the address bar are not asked for (RFC 9700 2.1.2)"
NO_REQUEST_URI = f"{NOT_DONE}requests go by PAR, or by value, and always signed if at all"
NO_REGISTRATION = f"{NOT_DONE}clients are registered by their operator"

BASIC = {
    CODE: f"{ACCEPTED}test_oidcc_client_test",
    f"{CODE}-invalid-iss": f"{POISONED}[oidcc-client-test-invalid-iss]",
    f"{CODE}-missing-sub": f"{POISONED}[oidcc-client-test-missing-sub]",
    f"{CODE}-invalid-aud": f"{POISONED}[oidcc-client-test-invalid-aud]",
    f"{CODE}-missing-iat": f"{POISONED}[oidcc-client-test-missing-iat]",
    f"{CODE}-kid-absent-single-jwks": f"{ACCEPTED}test_oidcc_client_test_kid_absent_single_jwks",
    f"{CODE}-kid-absent-multiple-jwks": (
        f"{ACCEPTED}test_oidcc_client_test_kid_absent_multiple_jwks"
    ),
    f"{CODE}-idtoken-sig-rs256": f"{ACCEPTED}test_oidcc_client_test_idtoken_sig_rs256",
    f"{CODE}-idtoken-sig-none": f"{ID}test_oidcc_client_test_idtoken_sig_none",
    f"{CODE}-invalid-sig-rs256": f"{ID}test_oidcc_client_test_invalid_sig_rs256",
    f"{CODE}-userinfo-invalid-sub": f"{ID}test_oidcc_client_test_userinfo_invalid_sub",
    f"{CODE}-nonce-invalid": f"{POISONED}[oidcc-client-test-nonce-invalid]",
    f"{CODE}-scope-userinfo-claims": f"{ACCEPTED}test_oidcc_client_test_scope_userinfo_claims",
    f"{CODE}-client-secret-basic": f"{ACCEPTED}test_oidcc_client_test_client_secret_basic",
}
CONFIG = {
    f"{CODE}-discovery-openid-config": (
        f"{ANSWERS}test_a_provider_that_comes_to_its_senses_is_used"
    ),
    f"{CODE}-discovery-jwks-uri-keys": (
        f"{ANSWERS}test_a_provider_that_comes_to_its_senses_is_used"
    ),
    f"{CODE}-discovery-issuer-mismatch": (
        f"{ANSWERS}test_a_bad_discovery_document_begins_no_login"
        "[oidcc-client-test-discovery-issuer-mismatch]"
    ),
    f"{CODE}-idtoken-sig-none": f"{ID}test_oidcc_client_test_idtoken_sig_none",
    f"{CODE}-signing-key-rotation-just-before-signing": (
        f"{ACCEPTED}test_oidcc_client_test_signing_key_rotation"
    ),
    f"{CODE}-signing-key-rotation": f"{ACCEPTED}test_oidcc_client_test_signing_key_rotation",
}
FORM_POST = {
    **BASIC,
    CODE: f"{FORM}test_formpost_oidcc_client_test",
    **{
        f"{CODE}-{name}": f"{FORM}test_formpost_refuses[oidcc-client-test-{name}]"
        for name in (
            "invalid-iss", "missing-sub", "invalid-aud", "missing-iat", "idtoken-sig-none",
            "invalid-sig-rs256", "nonce-invalid",
        )
    },
    f"{CODE}-kid-absent-multiple-jwks": (
        f"{FORM}test_formpost_oidcc_client_test_kid_absent_multiple_jwks"
    ),
    f"{CODE}-idtoken-sig-rs256": f"{FORM}test_formpost_oidcc_client_test",
    f"{CODE}-userinfo-invalid-sub": f"{FORM}test_formpost_oidcc_client_test_userinfo_invalid_sub",
    f"{CODE}-scope-userinfo-claims": f"{FORM}test_formpost_oidcc_client_test",
    f"{CODE}-form-post-error": f"{FORM}test_oidcc_client_test_form_post_error",
}  # fmt: skip
RP_INITIATED = {
    f"{CODE}-rp-init-logout": f"{LOGOUT}test_oidcc_client_test_rp_init_logout",
    f"{CODE}-rp-init-logout-other-state": (
        f"{LOGOUT}test_a_sign_out_with_a_wrong_state[oidcc-client-test-rp-init-logout-other-state]"
    ),
    f"{CODE}-rp-init-logout-no-state": (
        f"{LOGOUT}test_a_sign_out_with_a_wrong_state[oidcc-client-test-rp-init-logout-no-state]"
    ),
}
BACK_CHANNEL = {
    f"{BACK}-rpinitlogout": f"{TOKENS}test_oidcc_client_test_rp_backchannel_rpinitlogout",
    f"{BACK}-alg-none": f"{TOKENS}test_oidcc_client_test_rp_backchannel_alg_none",
    f"{BACK}-no-event": f"{LOGOUT_POISONED}[{BACK}-no-event]",
    f"{BACK}-with-nonce": f"{LOGOUT_POISONED}[{BACK}-with-nonce]",
    f"{BACK}-wrong-alg": f"{TOKENS}test_oidcc_client_test_rp_backchannel_wrong_alg",
    f"{BACK}-wrong-aud": f"{LOGOUT_POISONED}[{BACK}-wrong-aud]",
    f"{BACK}-wrong-event": f"{LOGOUT_POISONED}[{BACK}-wrong-event]",
    f"{BACK}-wrong-iss": f"{LOGOUT_POISONED}[{BACK}-wrong-iss]",
}
FRONT_CHANNEL = {
    f"{CODE}-rp-frontchannel-rpinitlogout": (
        f"{LOGOUT}test_oidcc_client_test_rp_frontchannel_rpinitlogout"
    ),
    f"{CODE}-rp-frontchannel-opinitlogout": (
        f"{LOGOUT}test_oidcc_client_test_rp_frontchannel_opinitlogout"
    ),
}
SESSION = {
    f"{CODE}-session-management": f"{ACCEPTED}test_oidcc_client_test_session_management",
}
THIRD_PARTY = {
    f"{CODE}-3rd-party-init-login": f"{LOGOUT}test_oidcc_client_test_3rd_party_init_login",
}
REFRESH_TOKEN = {
    f"{CODE}-refresh-token": f"{REFRESH}test_oidcc_client_test_refresh_token",
    f"{CODE}-refresh-token-invalid-issuer": (
        f"{REFRESH}test_a_poisoned_refresh_changes_nothing"
        "[oidcc-client-test-refresh-token-invalid-issuer]"
    ),
    f"{CODE}-refresh-token-invalid-sub": (
        f"{REFRESH}test_oidcc_client_test_refresh_token_invalid_sub"
    ),
}
COMPREHENSIVE = {
    f"{CODE}-missing-aud": f"{POISONED}[oidcc-client-test-missing-aud]",
    f"{CODE}-invalid-athash": f"{POISONED}[oidcc-client-test-invalid-athash]",
    f"{CODE}-invalid-chash": f"{POISONED}[oidcc-client-test-invalid-chash]",
    f"{CODE}-missing-chash": NO_HYBRID,
    f"{CODE}-missing-athash": NO_HYBRID,
    f"{CODE}-nonce-unless-code-flow": f"{ACCEPTED}test_oidcc_client_test_scope_userinfo_claims",
    f"{CODE}-userinfo-bearer-header": f"{ACCEPTED}test_oidcc_client_test",
    f"{CODE}-userinfo-bearer-body": f"{NOT_DONE}a token goes in the header alone (RFC 9700 4.3.2)",
    f"{CODE}-invalid-sig-hs256": f"{ID}test_keys_named_by_the_token_are_never_used",
    f"{CODE}-invalid-sig-es256": f"{FAPI}test_a_poisoned_signature[invalid-alternate-alg]",
    f"{CODE}-aggregated-claims": f"{TRAPS}test_claims_from_elsewhere_are_not_fetched",
    f"{CODE}-distributed-claims": f"{TRAPS}test_claims_from_elsewhere_are_not_fetched",
}
DYNAMIC = {
    f"{CODE}-discovery-webfinger-acct": f"{NOT_DONE}the issuer is configured, never found out",
    f"{CODE}-discovery-webfinger-url": f"{NOT_DONE}the issuer is configured, never found out",
    f"{CODE}-dynamic-registration": NO_REGISTRATION,
    f"{CODE}-request-uri-signed-rs256": NO_REQUEST_URI,
    f"{CODE}-request-uri-signed-none": NO_REQUEST_URI,
    f"{CODE}-userinfo-signed": f"{SIGNED}test_userinfo_may_be_signed_and_encrypted",
}
REFUSED = f"{FAPI}test_a_poisoned_id_token"
SECURITY_PROFILE = {
    f"{PROFILE}-happy-path": f"{FAPI}test_happy_path",
    f"{PROFILE}-happy-path-no-dpop-nonce": f"{FAPI}test_happy_path_no_dpop_nonce",
    f"{PROFILE}-discovery-issuer-mismatch": (
        f"{ANSWERS}test_a_bad_discovery_document_begins_no_login"
        "[oidcc-client-test-discovery-issuer-mismatch]"
    ),
    **{
        f"{PROFILE}-{name}": f"{REFUSED}[{name}]"
        for name in (
            "invalid-iss", "invalid-missing-iss", "invalid-aud", "invalid-missing-aud",
            "invalid-secondary-aud", "invalid-expired-exp", "invalid-missing-exp", "invalid-nonce",
            "invalid-missing-nonce",
        )
    },
    f"{PROFILE}-valid-aud-as-array": f"{FAPI}test_valid_aud_as_array",
    f"{PROFILE}-invalid-null-alg": f"{FAPI}test_a_poisoned_signature[invalid-null-alg]",
    f"{PROFILE}-invalid-alternate-alg": f"{FAPI}test_a_poisoned_signature[invalid-alternate-alg]",
    **{
        f"{PROFILE}-{name}": f"{FAPI}test_a_poisoned_answer[{name}]"
        for name in (
            "invalid-authorization-response-iss", "remove-authorization-response-iss",
            "ensure-authorization-response-with-invalid-state-fails",
            "ensure-authorization-response-with-invalid-missing-state-fails",
        )
    },
    f"{PROFILE}-token-endpoint-response-without-expires_in": (
        f"{FAPI}test_token_endpoint_response_without_expires_in"
    ),
    f"{PROFILE}-token-type-case-insensitivity": f"{FAPI}test_token_type_case_insensitivity",
    f"{PROFILE}-rs-dpop-auth-scheme-case-insensitivity": (
        f"{FAPI}test_rs_dpop_auth_scheme_case_insensitivity"
    ),
    "fapi2-security-profile-final-client-refresh-token-test": (
        f"{FAPI}test_client_refresh_token_test"
    ),
    f"{PROFILE}-invalid-openbanking-intent-id": f"{NOT_DONE}of Open Banking in the UK alone",
}  # fmt: skip
MESSAGE_SIGNING = {
    f"{SIGNING}-happy-path": f"{SIGNED}test_fapi2_message_signing_happy_path",
    **{
        f"{SIGNING}-ensure-jarm-{name}": (
            f"{SIGNED}test_fapi2_message_signing_ensure_jarm[{name.removesuffix('-fails')}]"
        )
        for name in (
            "without-iss-fails", "with-invalid-iss-fails", "without-aud-fails",
            "with-invalid-aud-fails", "without-exp-fails", "with-expired-exp-fails",
            "with-invalid-sig-fails", "signature-is-not-none",
        )
    },
}  # fmt: skip

PLANS: dict[str, dict[str, str]] = {
    "oidcc-client-basic-certification-test-plan": BASIC,
    "oidcc-client-config-certification-test-plan": CONFIG,
    "oidcc-client-formpost-basic-certification-test-plan": FORM_POST,
    "oidcc-client-rp-initiated-logout-rp-basic": RP_INITIATED,
    "oidcc-client-back-channel-logout-rp-basic": BACK_CHANNEL,
    "oidcc-client-front-channel-logout-rp-basic": FRONT_CHANNEL,
    "oidcc-client-rp-session-management-rp-basic": SESSION,
    "oidcc-client-test-3rd-party-init-login-test-plan": THIRD_PARTY,
    "oidcc-client-refreshtoken-test-plan": REFRESH_TOKEN,
    "fapi2-security-profile-final-client-test-plan": SECURITY_PROFILE,
    "fapi2-message-signing-final-client-test-plan": MESSAGE_SIGNING,
    "oidcc-client-test-plan (what it adds)": COMPREHENSIVE,
    "oidcc-client-dynamic-certification-test-plan (what it adds)": DYNAMIC,
}
TRAPS_ARE = {
    "T1": "the type of a logout token",
    "T2": "a token without `kid`",
    "T3": "`alg` none in the metadata",
    "T4": "an audience that is not us alone",
    "T5": "keys that cannot be used beside those that can",
    "T6": "the encoding of `client_secret_basic`",
    "T7": "the audience of an assertion",
    "T8": "a repeated request with a repeated assertion",
    "T9": "the slash at the end of an issuer",
    "T10": "keys that change right after they were fetched",
    "T11": "cookies that must or must not come along from another site",
    "T12": "a frame of the provider's",
    "T13": "a `sid` of odd characters",
    "T14": "the hint at the sign-out",
    "T15": "a target that leads elsewhere",
    "T16": "header names that pretend",
    "T17": "userinfo before the ID token is believed",
    "T18": "a sign-out without `state`",
    "T19": "a login that nobody sees",
    "T20": "members of a token answer that are absent or of another case",
}


class Module(NamedTuple):
    """A module of a plan; `test` is empty where it is not done, and `why` says why."""

    plan: str
    name: str
    test: str
    why: str


def modules() -> Iterator[Module]:
    """Return all modules of all plans."""
    for plan, tests in PLANS.items():
        for name, test in tests.items():
            undone = test.startswith(NOT_DONE)
            why = test.removeprefix(NOT_DONE) if undone else ""
            yield Module(plan, name, "" if undone else test, why)


def tables() -> str:
    """Return the tables of the documentation."""
    lines: list[str] = []
    for plan in PLANS:
        lines += ["", f"**{plan}**", "", "| module | state | test |", "|---|---|---|"]
        for module in modules():
            if module.plan == plan:
                state = "met" if module.test else "not done"
                shown = f"`{module.test}`" if module.test else module.why
                lines.append(f"| {module.name} | {state} | {shown} |")
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    print(tables(), end="")
