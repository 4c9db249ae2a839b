//! TLS, SASL, delegation tokens and access control.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Security";

    String "authorizer.class.name" = "", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "What decides who may do what; empty allows everything.";
    Int "connection.failed.authentication.delay.ms" = "100", Valid::AtLeast(0), Low, ReadOnly, Status::Idle(parts::SECURITY),
        "How long a connection that failed to authenticate is kept waiting before it is closed.";
    Long "connections.max.reauth.ms" = "0", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "How long a SASL session may last before the client must authenticate anew; 0 is for ever.";
    Long "delegation.token.expiry.check.interval.ms" = "3600000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::SECURITY),
        "How often expired delegation tokens are removed.";
    Long "delegation.token.expiry.time.ms" = "86400000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SECURITY),
        "How long a delegation token is valid before it must be renewed.";
    Long "delegation.token.max.lifetime.ms" = "604800000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SECURITY),
        "How long a delegation token can be renewed for.";
    Password "delegation.token.secret.key" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Secret that delegation tokens are signed with, the same on all brokers.";
    List "early.start.listeners" = null, Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Listeners that open before the authorizer is ready.";
    Class "principal.builder.class" = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Java class that derives a principal from a connection.";
    Class "sasl.client.callback.handler.class" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that answers the callbacks of SASL clients.";
    List "sasl.enabled.mechanisms" = "GSSAPI", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "SASL mechanisms that clients may use.";
    Password "sasl.jaas.config" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Login of a SASL mechanism, in the format of JAAS.";
    String "sasl.kerberos.kinit.cmd" = "/usr/bin/kinit", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Path of the Kerberos kinit command.";
    Long "sasl.kerberos.min.time.before.relogin" = "60000", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Least time between two refreshes of a Kerberos ticket.";
    List "sasl.kerberos.principal.to.local.rules" = "DEFAULT", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Rules that turn Kerberos principals into user names.";
    String "sasl.kerberos.service.name" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Kerberos principal that the brokers run as.";
    Double "sasl.kerberos.ticket.renew.jitter" = "0.05", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Share by which the renewal of a Kerberos ticket is varied.";
    Double "sasl.kerberos.ticket.renew.window.factor" = "0.8", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Share of a Kerberos ticket's life after which it is renewed.";
    Class "sasl.login.callback.handler.class" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that answers the callbacks of a SASL login.";
    Class "sasl.login.class" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that logs in.";
    Int "sasl.login.connect.timeout.ms" = null, Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How long a connection to an identity provider may take.";
    Int "sasl.login.read.timeout.ms" = null, Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How long an answer of an identity provider may take.";
    Short "sasl.login.refresh.buffer.seconds" = "300", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Least life that a login should have left when it is refreshed.";
    Short "sasl.login.refresh.min.period.seconds" = "60", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Least time between two refreshes of a login.";
    Double "sasl.login.refresh.window.factor" = "0.8", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Share of a login's life after which it is refreshed.";
    Double "sasl.login.refresh.window.jitter" = "0.05", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Share by which the refresh of a login is varied.";
    Long "sasl.login.retry.backoff.max.ms" = "10000", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "Longest wait between two tries to log in.";
    Long "sasl.login.retry.backoff.ms" = "100", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "First wait between two tries to log in.";
    String "sasl.mechanism.controller.protocol" = "GSSAPI", Valid::Any, High, ReadOnly, Status::NotYet(parts::SECURITY),
        "SASL mechanism of connections to controllers.";
    String "sasl.mechanism.inter.broker.protocol" = "GSSAPI", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "SASL mechanism of connections between brokers.";
    Boolean "sasl.oauthbearer.allow.unverified.audience" = "false", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Tokens without an audience are taken.";
    Boolean "sasl.oauthbearer.allow.unverified.issuer" = "false", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Tokens without an issuer are taken.";
    String "sasl.oauthbearer.assertion.algorithm" = "RS256", Valid::OneOfAnyCase(&["ES256", "RS256"]), Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "How an assertion for a token request is signed.";
    String "sasl.oauthbearer.assertion.claim.aud" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Audience that an assertion states.";
    Int "sasl.oauthbearer.assertion.claim.exp.seconds" = "300", Valid::Between(0, 86_400), Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How long an assertion is valid.";
    String "sasl.oauthbearer.assertion.claim.iss" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Issuer that an assertion states.";
    Boolean "sasl.oauthbearer.assertion.claim.jti.include" = "false", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "An assertion carries an id of its own.";
    Int "sasl.oauthbearer.assertion.claim.nbf.seconds" = "60", Valid::Between(0, 3600), Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How far before now an assertion begins to be valid.";
    String "sasl.oauthbearer.assertion.claim.sub" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Subject that an assertion states.";
    String "sasl.oauthbearer.assertion.file" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "File with a ready assertion.";
    String "sasl.oauthbearer.assertion.private.key.file" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "File with the key that assertions are signed with.";
    Password "sasl.oauthbearer.assertion.private.key.passphrase" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Passphrase of that key.";
    String "sasl.oauthbearer.assertion.template.file" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "File with further parts of an assertion.";
    String "sasl.oauthbearer.client.credentials.client.id" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Client id of a token request.";
    Password "sasl.oauthbearer.client.credentials.client.secret" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Client secret of a token request.";
    Int "sasl.oauthbearer.clock.skew.seconds" = "30", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How far the clocks of broker and token issuer may be apart.";
    List "sasl.oauthbearer.expected.audience" = "", Valid::Any, High, ReadOnly, Status::NotYet(parts::SECURITY),
        "Audiences of which a token must name one.";
    String "sasl.oauthbearer.expected.issuer" = null, Valid::Any, High, ReadOnly, Status::NotYet(parts::SECURITY),
        "Issuer that a token must name.";
    Long "sasl.oauthbearer.jwks.endpoint.refresh.ms" = "3600000", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "How often the issuer's keys are fetched.";
    Long "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" = "10000", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "Longest wait between two tries to fetch the issuer's keys.";
    Long "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" = "100", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "First wait between two tries to fetch the issuer's keys.";
    String "sasl.oauthbearer.jwks.endpoint.url" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Where the issuer's keys are.";
    Class "sasl.oauthbearer.jwt.retriever.class" = "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that gets tokens.";
    Class "sasl.oauthbearer.jwt.validator.class" = "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that checks tokens.";
    String "sasl.oauthbearer.scope" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Scope of a token request.";
    String "sasl.oauthbearer.scope.claim.name" = "scope", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "Claim of a token that holds its scope.";
    String "sasl.oauthbearer.sub.claim.name" = "sub", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "Claim of a token that holds its subject.";
    String "sasl.oauthbearer.token.endpoint.url" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Where tokens are got.";
    Class "sasl.server.callback.handler.class" = null, Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Java class that answers the callbacks of SASL servers.";
    Int "sasl.server.max.receive.size" = "524288", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Largest SASL message that is taken before a client is known.";
    String "security.inter.broker.protocol" = "PLAINTEXT", Valid::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly, Status::NotYet(parts::SECURITY),
        "Protocol between brokers, where no listener is named for them.";
    String "security.providers" = null, Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Java classes that provide security algorithms.";
    Boolean "ssl.allow.dn.changes" = "false", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "A renewed certificate may name another subject.";
    Boolean "ssl.allow.san.changes" = "false", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "A renewed certificate may lack alternative names that the old one had.";
    List "ssl.cipher.suites" = "", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Cipher suites that may be used; empty leaves the choice to the library.";
    String "ssl.client.auth" = "none", Valid::OneOf(&["required", "requested", "none"]), Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Whether clients must show a certificate.";
    List "ssl.enabled.protocols" = "TLSv1.2,TLSv1.3", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Versions of TLS that may be used.";
    String "ssl.endpoint.identification.algorithm" = "https", Valid::Any, Low, PerBroker, Status::NotYet(parts::SECURITY),
        "How the host name in a certificate is checked; empty does not check it.";
    Class "ssl.engine.factory.class" = null, Valid::Any, Low, PerBroker, Status::NotYet(parts::SECURITY),
        "Java class that makes TLS engines.";
    Password "ssl.key.password" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Password of the private key.";
    String "ssl.keymanager.algorithm" = "SunX509", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Algorithm of the Java key manager.";
    Password "ssl.keystore.certificate.chain" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Certificate chain, in PEM.";
    Password "ssl.keystore.key" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Private key, in PEM.";
    String "ssl.keystore.location" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "File with the private key and its certificates.";
    Password "ssl.keystore.password" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Password of that file.";
    String "ssl.keystore.type" = "JKS", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Format of that file.";
    String "ssl.principal.mapping.rules" = "DEFAULT", Valid::Any, Low, ReadOnly, Status::NotYet(parts::SECURITY),
        "Rules that turn subjects of certificates into user names.";
    String "ssl.protocol" = "TLSv1.3", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Version of TLS to begin with.";
    String "ssl.provider" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Java provider of TLS.";
    String "ssl.secure.random.implementation" = null, Valid::Any, Low, PerBroker, Status::NotYet(parts::SECURITY),
        "Java source of random numbers for TLS.";
    String "ssl.trustmanager.algorithm" = "PKIX", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Algorithm of the Java trust manager.";
    Password "ssl.truststore.certificates" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Certificates that are trusted, in PEM.";
    String "ssl.truststore.location" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "File with the certificates that are trusted.";
    Password "ssl.truststore.password" = null, Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Password of that file.";
    String "ssl.truststore.type" = "JKS", Valid::Any, Medium, PerBroker, Status::NotYet(parts::SECURITY),
        "Format of that file.";
}
