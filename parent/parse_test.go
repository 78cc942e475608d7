package parent_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"viaduct/parent"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want parent.Proxy
		text string
	}{
		{"http://proxy.example:3128", parent.Proxy{Host: "proxy.example", Port: 3128}, "http://proxy.example:3128"},
		{"HTTP://Proxy.Example./", parent.Proxy{Host: "proxy.example", Port: 80}, "http://proxy.example:80"},
		{"https://[2001:DB8::1]:8443", parent.Proxy{Scheme: parent.HTTPS, Host: "2001:db8::1", Port: 8443}, "https://[2001:db8::1]:8443"},
		{"https://10.0.0.1", parent.Proxy{Scheme: parent.HTTPS, Host: "10.0.0.1", Port: 443}, "https://10.0.0.1:443"},
		{"socks5://a", parent.Proxy{Scheme: parent.SOCKS5, Host: "a", Port: 1080}, "socks5://a:1080"},
		{"socks5h://u:p@a:1", parent.Proxy{Scheme: parent.SOCKS5, Host: "a", Port: 1, User: "u", Password: parent.Hide("p")}, "socks5://a:1"},
		{"http://u:p%40%2f%3A%ff@a:1", parent.Proxy{Host: "a", Port: 1, User: "u", Password: parent.Hide("p@/:\xff")}, "http://a:1"},
		{"http://:p@a:1", parent.Proxy{Host: "a", Port: 1, Password: parent.Hide("p")}, "http://a:1"},
		{"http://u@a:1", parent.Proxy{Host: "a", Port: 1, User: "u"}, "http://a:1"},
		{"http://@a:1", parent.Proxy{Host: "a", Port: 1}, "http://a:1"},
	} {
		got, err := parent.Parse(tt.in)
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("%q: %v %v", tt.in, got, err)
		}
		again, err := parent.Parse(got.String())
		again.User, again.Password = got.User, got.Password
		if err != nil || again != got {
			t.Errorf("%q is read as %v, %v", got, again, err)
		}
	}
}

// TestParseSaysWhatToWrite: and shows nothing of what was written.
func TestParseSaysWhatToWrite(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "http://"},
		{"proxy.example:3128", "http://"},
		{"hunter2", "http://"},
		{"ftp://u:hunter2@a:1", "http://"},
		{"socks4://u:hunter2@a:1", "socks5://"},
		{"u:hunter2@a:1", "http://"},
		{"http:u:hunter2@a:1", "http://host:port"},
		{"http://", "http://host:port"},
		{"http://u:hunter2@", "http://host:port"},
		{"http://u:hunter2@:80", "host"},
		{"http://u:hunter2%@a:1", "%40"},
		{"http://u:hunter2%zz@a:1", "%40"},
		{"http://u:12/hunter2@a:1", "%2F"},
		{"http://u:hunter2#x@a:1", "%40"},
		{"http://u:12?hunter2@a:1", "%3F"},
		{"http://u:12#hunter2@a:1", "%23"},
		{"http://u:hunter2@a:0", "port"},
		{"http://u:hunter2@a:65536", "port"},
		{"http://u:hunter2@a:", "port"},
		{"http://u:hunter2@a b:1", "%40"},
		{"http://u:hunter2@[::1%25lo]:1", "zone"},
		{"http://u:hunter2@127.1:1", "IPv4"},
		{"http://u:hunter2@a:1/path", "nothing may follow"},
		{"http://u:hunter2@a:1/?weight=3", "nothing may follow"},
		{"http://u:hunter2@a:1?", "nothing may follow"},
		{"http://u%3Av:hunter2@a:1", "colon"},
		{"http://u:hunter2%0d%0aX@a:1", "control"},
		{"socks5://:hunter2@a:1", "user"},
		{"socks5://u:hunter2" + strings.Repeat("x", 250) + "@a:1", "255"},
	} {
		_, err := parent.Parse(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want something of %q", tt.in, err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v shows the password", tt.in, err)
		}
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	p, err := parent.Parse("socks5://user:hunter2@a:1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	type pool struct { // fmt calls no methods of what is in here
		p    parent.Proxy
		all  []parent.Proxy
		at   *parent.Proxy
		some map[string]any
	}
	holder := pool{p, []parent.Proxy{p}, &p, map[string]any{"p": p, "at": &p}}
	all := fmt.Sprint(p, &p) + fmt.Sprintf("%v %+v %#v %s %q %v", p, p, p, p, p, []parent.Proxy{p}) + string(text)
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, what := range []any{holder, &holder, p.Password, &p.Password} {
			all += fmt.Sprintf(form, what)
		}
	}
	if strings.Contains(all, "hunter2") || strings.Contains(all, hex.EncodeToString([]byte("hunter2"))) {
		t.Error(all)
	}
}
