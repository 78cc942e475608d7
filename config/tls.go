package config

import (
	"fmt"
	"slices"
	"strings"

	"viaduct/option"
)

// TLS is what https:// listeners show their clients, and ask of them.
type TLS struct {
	Cert     []string `key:"cert" flag:"tls-cert" word:"FILE" file:"" usage:"certificate chain (PEM) of https:// listeners, chosen by the name that a client asks for, the first for any other; read again when it changes"`
	Key      []string `key:"key" flag:"tls-key" word:"FILE" file:"" usage:"private key (PEM) of each certificate, in the same order; none when the certificate files hold theirs"`
	ClientCA string   `key:"client_ca" flag:"tls-client-ca" word:"FILE" min:"1" file:"" usage:"authorities (PEM) of client certificates: every client authenticates by one, or by a password where there are users"`
}

// Secure tells whether an address of Listen speaks TLS.
func Secure(listen string) bool { return strings.HasPrefix(listen, "https://") }

// certificates tells whether clients may say who they are by one.
func (r report) certificates(f *Forward, path string) bool {
	return r.given(f.TLS.ClientCA, path, "tls.client_ca")
}

// tls checks what https:// listeners show.
func (r report) tls(f *Forward, path string) {
	t, at := &f.TLS, path+".tls"
	secure := slices.IndexFunc(f.Listen, Secure)
	r.names(t.Cert, at+".cert")
	r.names(t.Key, at+".key")
	switch {
	case secure < 0 && r.mayBeSecure(f, path):
	case secure < 0:
		for _, o := range []struct {
			key   string
			given bool
		}{{"cert", len(t.Cert) > 0}, {"key", len(t.Key) > 0}, {"client_ca", t.ClientCA != ""}} {
			if o.given {
				r.Say(at+"."+o.key, "", "does nothing without "+r.Option("listen https://host:port", "an https:// address in listen")+": add that, or take this out")
			}
		}
	case secure >= 0 && len(t.Cert) == 0 && !r.Unread(at+".cert") && !r.Strange(at):
		r.Say(option.Item(path+".listen", secure), f.Listen[secure], "has no certificate to show: add "+r.Option("tls-cert", "tls.cert")+" with the file that it is in")
	case len(t.Key) > 0 && len(t.Key) != len(t.Cert):
		r.Say(at+".key", "", fmt.Sprintf("%d for %d certificates: write one key for each, in the same order, or none when the certificate files hold theirs", len(t.Key), len(t.Cert)))
	}
}

// mayBeSecure tells whether an address that is not right may be meant to speak TLS.
func (r report) mayBeSecure(f *Forward, path string) bool {
	for i, s := range f.Listen {
		scheme, _, ok := strings.Cut(s, "://")
		if ok && scheme != "http" || r.Unread(option.Item(path+".listen", i)) {
			return true
		}
	}
	return false
}

// names checks a list of files.
func (r report) names(files []string, path string) {
	for i, file := range files {
		switch at := option.Item(path, i); {
		case file == "":
			r.Say(at, "", "is empty: write a file, or leave it out")
		case slices.Contains(files[:i], file) && strings.HasSuffix(path, ".cert"):
			r.Say(at, file, "is given twice: take one out")
		}
	}
}
