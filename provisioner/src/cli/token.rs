// SPDX-License-Identifier: Apache-2.0
//! `provisioner token …`: who may use the API over the network.

use provisioner_api::{NewToken, Token as Secret, TokenSummary};

use super::words::{moment, table};
use super::{Token, answer, client, talk};
use crate::api_client::segment;
use crate::config::Config;

/// Carries out a command.
pub fn run(config: &Config, command: &Token, json: bool) -> anyhow::Result<()> {
    let client = client(config);
    match command {
        Token::Create { name } => {
            let made: Secret = talk(client.post("/api/v1/tokens", &NewToken { name: name.clone() }))?;
            answer(&made, json, |made| {
                format!(
                    "{}\nKeep it now: it is stored as a hash only and cannot be shown again.",
                    made.token
                )
            })
        }
        Token::List => {
            let tokens: Vec<TokenSummary> = talk(client.get("/api/v1/tokens"))?;
            answer(&tokens, json, |tokens| {
                let rows = tokens
                    .iter()
                    .map(|token| vec![token.name.clone(), moment(token.created)]);
                table(&["NAME", "MADE"], rows)
            })
        }
        Token::Revoke { name } => talk(client.delete(&format!("/api/v1/tokens/{}", segment(name)))),
    }
}
