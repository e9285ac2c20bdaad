/* A TLS connection within one process, without certificates: what goes in is known, what a probe of libssl shows is the
 * same. As triggers.c: each line of standard input writes once more and prints a line of JSON.
 *
 *     gcc -O2 tls.c -o tls -lssl -lcrypto && echo tls | ./tls
 *     {"do": "tls", "first": 41, "second": 22}
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char FIRST[] = "GET /secret HTTP/1.1\r\nHost: example.org\r\n", SECOND[] = "password=correct horse";

static SSL *side(const SSL_METHOD *method, BIO *in, BIO *out)
{
	SSL_CTX *context = SSL_CTX_new(method);
	SSL *ssl;
	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION); /* the last with ciphers that need no certificate */
	SSL_CTX_set_security_level(context, 0);
	SSL_CTX_set_cipher_list(context, "AECDH-AES128-SHA");
	ssl = SSL_new(context);
	BIO_up_ref(in);
	BIO_up_ref(out);
	SSL_set_bio(ssl, in, out);
	return ssl;
}

int main(void)
{
	char line[16], got[128];
	size_t written = 0;
	BIO *to = BIO_new(BIO_s_mem()), *from = BIO_new(BIO_s_mem());
	SSL *client = side(TLS_client_method(), from, to), *server = side(TLS_server_method(), to, from);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	for (int i = 0; i < 10 && (SSL_do_handshake(client) != 1 || SSL_do_handshake(server) != 1); i++)
		SSL_do_handshake(server);
	if (!SSL_is_init_finished(client) || !SSL_is_init_finished(server))
		return 1;
	while (fgets(line, sizeof(line), stdin)) {
		int first = SSL_write(client, FIRST, strlen(FIRST));
		SSL_write_ex(client, SECOND, strlen(SECOND), &written);
		if (SSL_read(server, got, sizeof(got)) != first || memcmp(got, FIRST, first))
			return 2;
		if (SSL_read(server, got, sizeof(got)) != (int)written || memcmp(got, SECOND, written))
			return 3;
		printf("{\"do\": \"tls\", \"first\": %d, \"second\": %zu}\n", first, written);
		fflush(stdout);
	}
	return 0;
}
