package hashing_test

import (
	"slices"
	"strings"
	"testing"

	"viaduct/hashing"
)

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string][]hashing.Part{
		"client_ip":                     {{Source: hashing.ClientIP}},
		"user":                          {{Source: hashing.User}},
		"host, path":                    {{Source: hashing.Host}, {Source: hashing.Path}},
		"url":                           {{Source: hashing.URL}},
		"header:X-User-Id":              {{Source: hashing.Header, Name: "x-user-id"}},
		"cookie:SID":                    {{Source: hashing.Cookie, Name: "SID"}},
		"client_ip,header:a , cookie:b": {{Source: hashing.ClientIP}, {Source: hashing.Header, Name: "a"}, {Source: hashing.Cookie, Name: "b"}},
	} {
		got, err := hashing.ParseKey(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is read as %v, %v", text, got, err)
			continue
		}
		for _, p := range got {
			if again, err := hashing.ParseKey(p.String()); err != nil || !slices.Equal(again, []hashing.Part{p}) {
				t.Errorf("%v is read again as %v, %v", p, again, err)
			}
		}
	}
}

func TestKeySlips(t *testing.T) {
	for slip, meant := range map[string]string{
		"": "", ",": "", "host,": "", ",host": "", "client-ip": "client_ip", "ip": "client_ip", "Host": "host", "uri": "url",
		"header": "header:NAME", "header:": "header:NAME", "cookie:": "cookie:NAME", "cookie": "cookie:NAME",
		"header:a b": "header:NAME", "header:x\r\ny": "header:NAME", "header:a:b": "header:NAME", "cookie:a=b": "cookie:NAME",
		"host:a": "name", "url:": "name", "header:é": "header:NAME", "cookies:a": "cookie:NAME",
	} {
		parts, err := hashing.ParseKey(slip)
		if err == nil {
			t.Errorf("%q is read as %v", slip, parts)
			continue
		}
		if !strings.Contains(err.Error(), meant) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: %q, want a word of %q", slip, err, meant)
		}
	}
}
