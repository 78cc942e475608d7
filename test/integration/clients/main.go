// Clients holds the clients of the integration test that are programs of
// somebody's own: here Go's net/http, beside it Java's, Python's and Node's.
//
//	clients PROXY CA SITE
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run asks every site by http and by https, with a small body and with a large
// one of unknown length.
func run(proxy, ca, site string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	via, err := url.Parse(proxy)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		Proxy:             http.ProxyURL(via),
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
	}}
	for _, scheme := range []string{"http://", "https://"} {
		if err := ask(client, http.MethodGet, scheme+site+"/hello", nil); err != nil {
			return err
		}
		large := strings.NewReader(strings.Repeat("viaduct ", 1<<20))
		if err := ask(client, http.MethodPost, scheme+site+"/sum", io.MultiReader(large)); err != nil {
			return err
		}
	}
	return nil
}

// ask prints what a site answers.
func ask(client *http.Client, method, target string, body io.Reader) error {
	r, err := http.NewRequestWithContext(context.Background(), method, target, body)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	fmt.Println(answer.StatusCode, answer.Proto, string(bytes.TrimSpace(text)))
	return nil
}
