//! The generated messages, services and clients of `tok.v1`, and their descriptors.

use std::fmt;

/// Everything in `proto/tok/v1`, as prost and tonic generate it.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code; what the messages mean is said in the proto files"
)]
pub mod v1 {
    tonic::include_proto!("tok.v1");
}

/// Everything in `proto/tok/agent/v1`: what a user's agent is asked on its own socket.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code; what the messages mean is said in the proto files"
)]
pub mod agent {
    tonic::include_proto!("tok.agent.v1");
}

/// The file descriptor set of `tok.v1` with what it imports, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tok_v1_descriptors.bin"));

/// Every service of `tok.v1`, by its full name.
pub const SERVICES: [&str; 6] = [
    "tok.v1.TokenService",
    "tok.v1.AuthorizationService",
    "tok.v1.IdentityService",
    "tok.v1.AuditService",
    "tok.v1.SessionService",
    "tok.v1.TrustService",
];

/// The number of this protocol, sent by `ServerStatus`; grows when a change needs both sides to know of it.
pub const PROTOCOL: u32 = 1;

// prost asks for Debug on every message. These carry a secret, so theirs is not the generated one.
macro_rules! secretive {
    ($($message:ident { $($shown:ident),* }),+ $(,)?) => {
        $(impl fmt::Debug for v1::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        })+
    };
}

secretive!(
    CreateTokenRequest { name, kind },
    CreateTokenReply { token },
    RotateTokenRequest { reference, grace },
    RotateTokenReply { token, predecessor },
    RevokeSecretRequest { reason },
    ImportTokensRequest { format, user, dry_run },
    CheckTokenRequest {},
    IntrospectRequest {},
    SetPasswordRequest { name, end_sessions },
    StartDeviceReply { verification_uri, expires_in, interval },
    PollDeviceRequest {},
    OpenSessionRequest { user, machine },
    OpenSessionReply { token, user },
    MintGitReply { id, expires_at, username },
    CheckIdentityRequest {},
    ExchangeRequest { repository, permission },
    ExchangeReply { id, expires_at, repository, permission },
);

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn no_message_prints_a_secret() {
        let text = "tokpat_doNotPrintMe";
        let secret = text.to_owned();
        for printed in [
            format!("{:?}", v1::CreateTokenReply { secret: secret.clone(), token: None }),
            format!("{:#?}", v1::CreateTokenRequest { secret: secret.clone(), ..Default::default() }),
            format!("{:?}", v1::RotateTokenRequest { secret: secret.clone(), ..Default::default() }),
            format!("{:?}", v1::RotateTokenReply { secret: secret.clone(), ..Default::default() }),
            format!("{:?}", v1::RevokeSecretRequest { secret: secret.clone(), ..Default::default() }),
            format!("{:?}", v1::ImportTokensRequest { content: secret.clone(), ..Default::default() }),
            format!("{:?}", v1::CheckTokenRequest { secret: secret.clone() }),
            format!("{:?}", v1::IntrospectRequest { token: secret.clone() }),
            format!(
                "{:?}",
                v1::SetPasswordRequest { password: text.into(), current: text.into(), ..Default::default() }
            ),
            format!(
                "{:?}",
                v1::StartDeviceReply { device_code: text.into(), user_code: text.into(), ..Default::default() }
            ),
            format!("{:?}", v1::PollDeviceRequest { device_code: text.into() }),
            format!("{:?}", v1::OpenSessionRequest { password: text.into(), ..Default::default() }),
            format!("{:?}", v1::OpenSessionReply { secret: text.into(), ..Default::default() }),
            format!("{:?}", v1::MintGitReply { secret: text.into(), ..Default::default() }),
            format!("{:?}", v1::CheckIdentityRequest { token: text.into() }),
            format!("{:?}", v1::ExchangeRequest { token: text.into(), ..Default::default() }),
            format!("{:?}", v1::ExchangeReply { secret, ..Default::default() }),
        ] {
            assert!(!printed.contains("doNotPrintMe"), "{printed}");
        }
    }

    #[test]
    fn the_descriptors_name_every_service_and_every_enum_starts_unspecified() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let ours: Vec<_> = set.file.iter().filter(|file| file.package() == "tok.v1").collect();
        let services: Vec<_> =
            ours.iter().flat_map(|file| &file.service).map(|s| format!("tok.v1.{}", s.name())).collect();
        assert_eq!(services, SERVICES);
        for unit in ours.iter().flat_map(|file| &file.enum_type) {
            assert!(unit.value[0].name().ends_with("_UNSPECIFIED"), "{}", unit.name());
        }
    }
}
