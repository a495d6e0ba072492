"""How this process proves to Kafka who it is: by nothing, a client certificate, a password, or an OAuth token.

One function for aiokafka's own clients and one for FastStream's broker, both from the same settings, so that a producer
and a reader of one process never differ.
"""

import ssl
from typing import Any

from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512

from common.kafka.oauth_token import ClientCredentials, OAuthToken
from common.settings import KafkaSettings

BY_PASSWORD = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
OAUTH = "OAUTHBEARER"


def broker_security(settings: KafkaSettings) -> dict[str, Any]:
    """Return FastStream's arguments for the configured protocol."""
    context = tls_context(settings)
    if not settings.security_protocol.startswith("SASL"):
        return {"security": BaseSecurity(ssl_context=context, use_ssl=True)} if context else {}
    if settings.sasl_mechanism == OAUTH:
        security = SASLOAuthBearer(ssl_context=context, use_ssl=context is not None)
        return {"security": security, "sasl_oauth_token_provider": OAuthToken(_credentials(settings))}
    return {
        "security": BY_PASSWORD[settings.sasl_mechanism](
            username=settings.username,
            password=settings.password.get_secret_value(),
            ssl_context=context,
            use_ssl=context is not None,
        )
    }


def client_security(settings: KafkaSettings) -> dict[str, Any]:
    """Return aiokafka's arguments for the configured protocol."""
    arguments: dict[str, Any] = {"security_protocol": settings.security_protocol}
    context = tls_context(settings)
    if context is not None:
        arguments["ssl_context"] = context
    if not settings.security_protocol.startswith("SASL"):
        return arguments
    arguments["sasl_mechanism"] = settings.sasl_mechanism
    if settings.sasl_mechanism == OAUTH:
        return arguments | {"sasl_oauth_token_provider": OAuthToken(_credentials(settings))}
    return arguments | {
        "sasl_plain_username": settings.username,
        "sasl_plain_password": settings.password.get_secret_value(),
    }


def tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """Return the TLS context with the client's certificate where one is set; None for a protocol without TLS."""
    return settings.tls_context() if settings.security_protocol.endswith("SSL") else None


def _credentials(settings: KafkaSettings) -> ClientCredentials:
    return ClientCredentials(
        settings.oauth_token_url or "",
        settings.oauth_client_id,
        settings.oauth_client_secret.get_secret_value(),
        settings.oauth_scope,
        settings.request_timeout,
    )
