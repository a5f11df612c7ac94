//! Encrypted connections to PostgreSQL.

use duologue_store::{Error, Location, Store};

/// Makes the server of the tests take TLS, with a certificate for `db.example`, 127.0.0.1 and what else is given.
async fn take_tls(url: &str, certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for (file, text) in
        [("server.crt", certificate.cert.pem()), ("server.key", certificate.signing_key.serialize_pem())]
    {
        // Written by the server, in its own folder.
        let copy = format!(
            "COPY (SELECT line FROM unnest(string_to_array($text${}$text$, E'\\n')) AS line) TO PROGRAM 'umask 077; cat > {file}'",
            text.trim()
        );
        client.batch_execute(&copy).await.unwrap();
    }
    client.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    for _ in 0..100 {
        let row = client.query_one("SELECT current_setting('ssl')", &[]).await.unwrap();
        if row.get::<_, &str>(0) == "on" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the server takes no TLS");
}

/// How many connections of Duologue to this database are encrypted, and how many are there.
async fn encrypted(url: &str) -> (i64, i64) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
         WHERE a.application_name = 'duologue' AND a.datname = current_database()";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_as_encrypted_as_the_url_says() {
    let Some(url) = crate::database().await else { return eprintln!("skipped: DUOLOGUE_TEST_POSTGRES is not set") };
    let names = ["db.example", "127.0.0.1", "localhost"].map(str::to_owned);
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [roots, others] = [("own.pem", &own), ("others.pem", &stranger)].map(|(name, certificate)| {
        let file = folder.path().join(name);
        std::fs::write(&file, certificate.cert.pem()).unwrap();
        file.display().to_string()
    });
    take_tls(&url, &own).await;

    let open = async |parameters: &str| -> Result<(i64, i64), Error> {
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}{parameters}");
        let store = Store::open(&Location::Postgres { url: url.clone(), connections: 2 }).await?;
        let seen = encrypted(self::without(&url)).await;
        store.close();
        Ok(seen)
    };
    let all = |(encrypted, connections)| connections > 0 && encrypted == connections;
    for encrypting in [
        "sslmode=prefer",
        "sslmode=require",
        &format!("sslmode=verify-ca&sslrootcert={roots}"),
        &format!("sslmode=verify-full&sslrootcert={roots}"),
    ] {
        assert!(all(open(encrypting).await.unwrap()), "{encrypting}");
    }
    assert_eq!(open("sslmode=disable").await.unwrap().0, 0);
    for refused in [&format!("sslmode=verify-full&sslrootcert={others}"), "sslmode=verify-full"] {
        let error = open(refused).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{refused}: {error}");
    }
}

/// The URL as this test's own connections want it.
fn without(url: &str) -> &str {
    &url[..url.find("sslmode").map_or(url.len(), |at| at - 1)]
}
