package config

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// given tells whether an option of the section at path has a value, or was to have
// one that could not be read.
func (r report) given(value, path, key string) bool { return value != "" || r.Unread(path+"."+key) }

// passwords tells whether clients may say who they are by one.
func (r report) passwords(f *Forward, path string) bool {
	return r.given(f.Users, path, "users") || r.given(f.AuthURL, path, "auth_url")
}

// authenticates tells whether clients say who they are, by whatever means.
func (r report) authenticates(f *Forward, path string) bool {
	return r.passwords(f, path) || r.certificates(f, path)
}

// welcomes tells whether a rule says which clients may come.
func (f *Forward) welcomes() bool {
	for _, rule := range f.Rules {
		if rule.Allow != nil && len(rule.Allow.Client) > 0 {
			return true
		}
	}
	return false
}

// clients checks what is said about who asks.
func (r report) clients(f *Forward, path string) {
	users, url, preset := r.Option("users", "users"), r.Option("auth-url", "auth_url"), Default().Forward[0]
	idle := func(key, value, without string) {
		r.Say(path+"."+key, value, "does nothing without "+without+": add that, or take this out")
	}
	if f.AuthURL != "" {
		r.authURL(f.AuthURL, path+".auth_url")
	}
	if f.Users != "" && f.AuthURL != "" {
		r.Say(path+".auth_url", "", "asks a service about the users that "+users+" has in a file: take one of them out")
	}
	if r.authenticates(f, path) && f.Open {
		r.Say(path+".open", "", "every client authenticates then: take "+r.Option("open", "open")+" out")
	}
	if f.Groups != "" && !r.given(f.Users, path, "users") {
		idle("groups", f.Groups, users)
	}
	if f.AuthTimeout != preset.AuthTimeout && !r.given(f.AuthURL, path, "auth_url") {
		idle("auth_timeout", "", url)
	}
	if f.AuthCache != preset.AuthCache && !r.passwords(f, path) {
		idle("auth_cache", "", users+" or "+url)
	}
	if f.EgressBy == "user" && !r.authenticates(f, path) {
		idle("egress_by", f.EgressBy, users+" or "+url)
	}
	if !isLine(f.Contact, 200) {
		r.Say(path+".contact", f.Contact, "write one line that people can read, with at most 200 bytes")
	}
}

// authURL checks the address of a service that knows the users. What looks like a
// password in it is not shown.
func (r report) authURL(s, path string) {
	u, err := url.Parse(s)
	shown := s
	if strings.Contains(s, "@") {
		shown = ""
		r.Hide(path, "auth-url")
	}
	switch {
	case err == nil && u.User != nil:
		r.Say(path, shown, "take the user and password out: the service is sent those of the client")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || !isServer(u.Host) || strings.Contains(s, "#") || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		r.Say(path, shown, "write the http:// or https:// address of a service, such as https://auth.example.com/check")
	}
}

// isLine tells whether s is a line that people can read, of at most so many bytes.
func isLine(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
