//! Encrypted connections to PostgreSQL.

use duologue_store::{Error, Location, Store};

/// Makes the server of the tests take TLS with this certificate.
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
    for _ in 0..1000 {
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
    let [own, stranger] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let [roots, others] = [("own.pem", &own), ("others.pem", &stranger)].map(|(name, certificate)| {
        let file = folder.path().join(name);
        std::fs::write(&file, certificate.cert.pem()).unwrap();
        file.display().to_string()
    });
    take_tls(&url, &own).await;

    let open_at = async |host: &str, parameters: &str| -> Result<(i64, i64), Error> {
        let separator = if url.contains('?') { '&' } else { '?' };
        let target = format!("{}{separator}{parameters}", url.replace("127.0.0.1", host));
        let store = Store::open(&Location::Postgres { url: target, connections: 2 }).await?;
        let seen = encrypted(&url).await;
        store.close();
        Ok(seen)
    };
    let all = |(encrypted, connections)| connections > 0 && encrypted == connections;
    let full = format!("sslmode=verify-full&sslrootcert={roots}");
    for (host, encrypting) in [
        ("127.0.0.1", "sslmode=prefer"),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", &format!("sslmode=require&sslrootcert={roots}")),
        ("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={roots}")),
        ("localhost", &full),
    ] {
        assert!(all(open_at(host, encrypting).await.unwrap()), "{host} {encrypting}");
    }
    for clear in ["sslmode=disable", "connect_timeout=9"] {
        let (encrypted, connections) = open_at("127.0.0.1", clear).await.unwrap();
        assert!(encrypted == 0 && connections > 0, "{clear}");
    }
    for (host, refused) in [
        ("127.0.0.1", &full[..]),
        ("localhost", &format!("sslmode=verify-full&sslrootcert={others}")),
        ("localhost", &format!("sslmode=require&sslrootcert={others}")),
        ("localhost", "sslmode=require&sslrootcert=system"),
        ("localhost", "sslmode=verify-ca"),
    ] {
        let error = open_at(host, refused).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{refused}: {error}");
    }
}
