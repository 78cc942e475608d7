package main

import (
	"bytes"
	"crypto/tls"
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
		return fetch("https://127.0.0.1:"+strconv.Itoa(t.port), "")
	}
	if !t.proxy {
		return fetch("http://127.0.0.1:"+strconv.Itoa(t.port), "")
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
			if err := refused(page, proxy(wrong)); err != nil {
				return fmt.Errorf("without the password: %w", err)
			}
		}
		login = userName + ":" + password + "@"
	}
	if hasList(kind) {
		if err := refused("http://"+b.denied, proxy(login)); err != nil {
			return fmt.Errorf("a name of the list: %w", err)
		}
	}
	return fetch(page, proxy(login))
}

// fetch gets the small page of a site, through a proxy if one is given.
func fetch(site, proxy string) error {
	status, body, err := get(site, proxy)
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

// refused gets the same and wants to be told who must not have it: 401 is what
// tinyproxy says for 407.
func refused(site, proxy string) error {
	status, _, err := get(site, proxy)
	if err == nil && status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusProxyAuthRequired {
		return fmt.Errorf("answer %d, not a refusal", status)
	}
	return err
}

func get(site, proxy string) (status int, body []byte, err error) {
	tr := &http.Transport{DisableKeepAlives: true, TLSClientConfig: clientTLS()}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return 0, nil, err
		}
		tr.Proxy = http.ProxyURL(u)
	}
	c := http.Client{Transport: tr, Timeout: 10 * time.Second}
	res, err := c.Get(site + bytesPath(small))
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
