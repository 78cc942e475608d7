package resolve_test

import (
	"slices"
	"strings"
	"testing"

	"viaduct/resolve"
)

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"1.1.1.1":                          "1.1.1.1:53",
		"1.1.1.1:5353":                     "1.1.1.1:5353",
		"2606:4700::1111":                  "[2606:4700::1111]:53",
		"[2606:4700::1111]":                "[2606:4700::1111]:53",
		"[2606:4700::1111]:5353":           "[2606:4700::1111]:5353",
		"fe80::1%eth0":                     "[fe80::1%eth0]:53",
		"::ffff:1.1.1.1":                   "1.1.1.1:53",
		"dns.example":                      "dns.example:53",
		"DNS.Example.:54":                  "dns.example:54",
		"udp://1.1.1.1":                    "1.1.1.1:53",
		"UDP://1.1.1.1":                    "1.1.1.1:53",
		"tcp://1.1.1.1":                    "tcp://1.1.1.1:53",
		"tcp://dns.example:53":             "tcp://dns.example:53",
		"tls://dns.example":                "tls://dns.example:853",
		"tls://[2606:4700::1111]:8853":     "tls://[2606:4700::1111]:8853",
		"https://dns.example":              "https://dns.example:443/dns-query",
		"https://dns.example/":             "https://dns.example:443/",
		"https://dns.example:8443/a/b":     "https://dns.example:8443/a/b",
		"https://1.1.1.1/dns-query":        "https://1.1.1.1:443/dns-query",
		"https://[2606:4700::1111]/x":      "https://[2606:4700::1111]:443/x",
		"https://2606:4700::1111/x":        "https://[2606:4700::1111]:443/x",
		"https://dns.example/%7E":          "",
		"https://dns.example/dns{?dns}":    "",
		"https://dns.example/d?x=1":        "",
		"https://dns.example?x=1":          "",
		"https://dns.example/d#x":          "",
		"https://dns.example/ä":            "",
		"https://u:p@dns.example/":         "",
		"https://":                         "",
		"":                                 "",
		" ":                                "",
		"1.1.1":                            "",
		"1.1.1.256":                        "",
		"127.1:53":                         "",
		"0x7f000001":                       "",
		"1.1.1.1:0":                        "",
		"1.1.1.1:65536":                    "",
		"1.1.1.1:":                         "",
		"1.1.1.1:dns":                      "",
		"1.1.1.1 :53":                      "",
		"1.1.1.1/dns-query":                "",
		"[::1":                             "",
		"::1]":                             "",
		"[1.1.1.1]":                        "",
		"[::1]:x":                          "",
		"[dns.example]:53":                 "",
		"dns.example:":                     "",
		"dns.example:0":                    "",
		"dns.example:99999":                "",
		"dns..example":                     "",
		"tls://dns.example/x":              "",
		"http://dns.example":               "",
		"ftp://1.1.1.1":                    "",
		"://1.1.1.1":                       "",
		"quic://1.1.1.1":                   "",
		"udp://udp://1.1.1.1":              "",
		strings.Repeat("a.", 500) + "test": "",
	} {
		s, err := resolve.ParseServer(in)
		if err != nil && (want != "" || !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "a port is")) {
			t.Errorf("%q: %v", in, err)
		}
		if err == nil && s.String() != want {
			t.Errorf("%q is %q, want %q", in, s, want)
		}
	}
}

func TestParseConf(t *testing.T) {
	for _, tt := range []struct {
		name, text, host string
		servers, names   []string
	}{
		{"nothing", "", "www", []string{"127.0.0.1:53"}, []string{"www"}},
		{"comments", "#nameserver 1.1.1.1\n; nameserver 1.1.1.2\n", "www", []string{"127.0.0.1:53"}, []string{"www"}},
		{"servers", "nameserver 1.1.1.1\nnameserver\t2606:4700::1111 # x\r\nnameserver fe80::1%eth0", "a.b", []string{"1.1.1.1:53", "[2606:4700::1111]:53", "[fe80::1%eth0]:53"}, []string{"a.b"}},
		{"bad servers", "nameserver\nnameserver x\nnameserver dns.example\nnameserver tls://1.1.1.1\nnameserver 127.1\nnameserver 1.1.1.1", "a.b", []string{"1.1.1.1:53"}, []string{"a.b"}},
		{"too many", "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4", "a.b", []string{"1.1.1.1:53", "1.1.1.2:53", "1.1.1.3:53"}, []string{"a.b"}},
		{"search", "nameserver 1.1.1.1\nsearch x.test Y.test. . -", "www", []string{"1.1.1.1:53"}, []string{"www.x.test", "www.y.test", "www.-", "www"}},
		{"the last counts", "search x.test\ndomain y.test\n", "www", []string{"127.0.0.1:53"}, []string{"www.y.test", "www"}},
		{"one dot", "search x.test\n", "a.b", []string{"127.0.0.1:53"}, []string{"a.b"}},
		{"ndots", "search x.test\noptions ndots:2", "a.b", []string{"127.0.0.1:53"}, []string{"a.b", "a.b.x.test"}},
		{"enough dots", "search x.test\noptions ndots:2", "a.b.c", []string{"127.0.0.1:53"}, []string{"a.b.c"}},
		{"no dots needed", "search x.test\noptions ndots:0", "www", []string{"127.0.0.1:53"}, []string{"www"}},
		{"bad options", "search x.test\noptions ndots:-1 ndots:x ndots: ndots timeout:0 attempts:0 timeout:-5 edns0 ndots:99999999999999999999", "www", []string{"127.0.0.1:53"}, []string{"www.x.test", "www"}},
		{"long search", "search a b c d e f g h", "www", []string{"127.0.0.1:53"}, []string{"www.a", "www.b", "www.c", "www.d", "www.e", "www.f", "www"}},
		{"too long together", "search " + strings.Repeat("a.", 100) + "test", strings.Repeat("b", 60), []string{"127.0.0.1:53"}, []string{strings.Repeat("b", 60)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			servers, names := resolve.ReadConf(tt.text, tt.host)
			var got []string
			for _, s := range servers {
				got = append(got, s.String())
			}
			if !slices.Equal(got, tt.servers) || !slices.Equal(names, tt.names) {
				t.Errorf("%v, %v; want %v, %v", got, names, tt.servers, tt.names)
			}
		})
	}
}

func FuzzConf(f *testing.F) {
	f.Add("nameserver 1.1.1.1\nsearch a.test b\noptions ndots:3 timeout:1 attempts:9 rotate\n", "www")
	f.Add("nameserver [::1]:53\r\n;x\n#y\ndomain z", "a.b")
	f.Fuzz(func(t *testing.T, text, host string) {
		servers, names := resolve.ReadConf(text, host)
		if len(servers) == 0 || len(servers) > 3 || len(names) == 0 || len(names) > 7 || !slices.Contains(names, host) {
			t.Fatalf("%v, %q", servers, names)
		}
	})
}

// What is understood is written so that it is understood again, the same way.
func FuzzParseServer(f *testing.F) {
	for _, s := range []string{"1.1.1.1", "[::1]:53", "tls://dns.example:853", "https://dns.example/x", "udp://fe80::1%eth0", "127.1", "udp://::%://"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := resolve.ParseServer(text)
		if err != nil {
			return
		}
		again, err := resolve.ParseServer(s.String())
		if err != nil || again != s {
			t.Fatalf("%q is %q, and that is %q, %v", text, s, again, err)
		}
	})
}
