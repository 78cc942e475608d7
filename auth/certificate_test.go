package auth_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	"viaduct/auth"
)

func TestCertificate(t *testing.T) {
	uri := func(text string) *url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	name := func(cn string, ou ...string) pkix.Name { return pkix.Name{CommonName: cn, OrganizationalUnit: ou} }
	for _, tt := range []struct {
		what string
		c    *x509.Certificate
		want string // user and groups, or "" for nobody
	}{
		{"none", nil, ""},
		{"empty", &x509.Certificate{}, ""},
		{"common name", &x509.Certificate{Subject: name("joe")}, "joe"},
		{"groups", &x509.Certificate{Subject: name("joe", "ops", "ci", "ops")}, "joe ci ops"},
		{"SPIFFE", &x509.Certificate{URIs: []*url.URL{uri("spiffe://example.org/ns/a/sa/b")}, DNSNames: []string{"x"}, EmailAddresses: []string{"y@z"}, Subject: name("joe", "ci")}, "spiffe://example.org/ns/a/sa/b ci"},
		{"SPIFFE among others", &x509.Certificate{URIs: []*url.URL{uri("https://example.org/"), uri("spiffe://a/b")}}, "spiffe://a/b"},
		{"two SPIFFE", &x509.Certificate{URIs: []*url.URL{uri("spiffe://a/b"), uri("spiffe://a/c")}, Subject: name("joe")}, ""},
		{"another URI", &x509.Certificate{URIs: []*url.URL{uri("https://example.org/")}, Subject: name("joe")}, "joe"},
		{"mail", &x509.Certificate{EmailAddresses: []string{"joe@example.org", "j@x"}, DNSNames: []string{"x"}, Subject: name("joe")}, "joe@example.org"},
		{"DNS", &x509.Certificate{DNSNames: []string{"host.example.org", "b"}, Subject: name("joe")}, "host.example.org"},
		{"SPIFFE for a common name", &x509.Certificate{Subject: name("spiffe://a/b")}, ""},
		{"SPIFFE for a common name, loud", &x509.Certificate{Subject: name("SPIFFE://a/b")}, ""},
		{"SPIFFE for a mail", &x509.Certificate{EmailAddresses: []string{"spiffe://a@b"}}, ""},
		{"SPIFFE for a name", &x509.Certificate{DNSNames: []string{"spiffe://a"}}, ""},
		{"nearly SPIFFE", &x509.Certificate{Subject: name("spiffe:/")}, "spiffe:/"},
		{"line end", &x509.Certificate{Subject: name("joe\nroot")}, ""},
		{"not UTF-8", &x509.Certificate{Subject: name("jo\xff")}, ""},
		{"control in a group", &x509.Certificate{Subject: name("joe", "ci\x00")}, ""},
		{"empty group", &x509.Certificate{Subject: name("joe", "")}, ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			id, ok := auth.Certificate(tt.c)
			if ok != (tt.want != "") || (id != nil) != ok {
				t.Fatalf("%v, %v", id, ok)
			}
			if ok && strings.Join(append([]string{id.User}, id.Groups...), " ") != tt.want {
				t.Errorf("%v, want %s", id, tt.want)
			}
		})
	}
	c := &x509.Certificate{Subject: name("joe", "z", "a")}
	if _, _ = auth.Certificate(c); c.Subject.OrganizationalUnit[0] != "z" {
		t.Error("the certificate was changed")
	}
	id, _ := auth.Certificate(c)
	if _, ok := users(t, "joe:"+horse, "").Still(id); ok {
		t.Error("a certificate is no password")
	}
}
