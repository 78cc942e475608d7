package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// check asks a fresh proxy for one page and looks at all of it, and then for what
// its kind has to refuse: a figure of a proxy that does not do the work is none.
func (b *bench) check(w workload, kind string, t target) error {
	if kind == relayTLS {
		return visit{site: "https://127.0.0.1:" + strconv.Itoa(t.port)}.fetch()
	}
	if !t.proxy {
		return visit{site: "http://127.0.0.1:" + strconv.Itoa(t.port)}.fetch()
	}
	proxy := func(login string) string {
		if w.tls {
			return "https://" + login + "127.0.0.1:" + strconv.Itoa(t.port)
		}
		return "http://" + login + "127.0.0.1:" + strconv.Itoa(t.port)
	}
	page := "http://" + t.hosts[0]
	login := ""
	if asksUser(kind) {
		for _, wrong := range []string{"", userName + ":wrong@"} {
			if err := (visit{site: page, proxy: proxy(wrong)}).refused(); err != nil {
				return fmt.Errorf("without the password: %w", err)
			}
		}
		login = userName + ":" + password + "@"
	}
	if hasList(kind) {
		if err := (visit{site: "http://" + b.denied, proxy: proxy(login)}).refused(); err != nil {
			return fmt.Errorf("a name of the list: %w", err)
		}
	}
	v := visit{site: page, proxy: proxy(login), nothing: kind == forwardFilter}
	if kind == forwardInspect { // who does not inspect shows the origin's own certificate
		v.site, v.ca = "https://"+t.hosts[0], b.ca
	}
	return v.fetch()
}

// visit is one request for the small page of a site.
type visit struct {
	site    string
	proxy   string         // none if empty
	nothing bool           // with the field that the origin must not see
	ca      *x509.CertPool // who must have made the site's certificate; nil: anybody
}

// fetch wants the page.
func (v visit) fetch() error {
	status, body, err := v.get()
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("answer %d", status)
	case !bytes.Equal(body, bytes.Repeat([]byte("x"), small)):
		return fmt.Errorf("a page of %d bytes, or wrong ones, for %d", len(body), small)
	}
	return nil
}

// refused wants to be told that the page is not for this client: 401 is what
// tinyproxy says for 407.
func (v visit) refused() error {
	status, _, err := v.get()
	if err == nil && status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusProxyAuthRequired {
		return fmt.Errorf("answer %d, not a refusal", status)
	}
	return err
}

func (v visit) get() (status int, body []byte, err error) {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: clientTLS()}
	if v.ca != nil {
		tr.TLSClientConfig.InsecureSkipVerify, tr.TLSClientConfig.RootCAs = false, v.ca
	}
	if v.proxy != "" {
		u, err := url.Parse(v.proxy)
		if err != nil {
			return 0, nil, err
		}
		tr.Proxy = http.ProxyURL(u)
	}
	req, err := http.NewRequest(http.MethodGet, v.site+bytesPath(small), http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	if v.nothing {
		req.Header.Set(nothing, "1")
	}
	c := http.Client{Transport: tr, Timeout: 10 * time.Second}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// clientTLS is how clients speak TLS: the certificate is our own, so nothing is
// verified but its signature, and all peers agree on this key exchange.
func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
}
