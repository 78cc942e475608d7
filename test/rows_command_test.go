package test

import (
	"net"
	"strings"
	"testing"
)

var commandRows = []row{
	{"product-1/version", "–", "`viaduct version` names the Go version, exit 0.", own, version},
	{"product-1/unknown-flag", "–", "An unknown flag: exit 1, and the flag that may have been meant.", own, unknownFlag},
	{"product-1/unknown-command", "–", "An unknown command or a stray argument: exit 1, and it is named.", own, unknownCommand},
	{"product-1/invalid-value", "–", "A value that makes no sense: exit 1, and the flag is named.", own, invalidValue},
	{"product-1/address-in-use", "–", "An address in use: exit 2, and it is named.", own, addressInUse},
	{"product-1/log-not-writable", "–", "An access log that cannot be opened: exit 2.", own, logNotWritable},
	{"product-1/environment-twins", "–", "Every flag has a twin VIADUCT_NAME; the flag wins.", own, environmentTwins},
	{"product-1/invalid-twin", "–", "A twin with a value that makes no sense: exit 1, and it is named.", own, invalidTwin},
	{"product-2/open", "–", "A listener beyond the loopback without --open: exit 1 and a sentence that names --open; with it, it runs.", own, open},
	{"product-2/access-log-stdout", "–", "By default the access log goes to standard output; `off` writes none.", own, accessLogStdout},
}

// complains runs a command line and wants exit code and words on standard
// error, and nothing on standard output.
func complains(t *testing.T, code int, env []string, args, words []string) {
	t.Helper()
	got, stdout, stderr := exits(t, env, args...)
	if got != code {
		t.Errorf("%q %q: exit code %d, want %d; it said %q", env, args, got, code, stderr)
	}
	if stdout != "" {
		t.Errorf("%q %q: standard output %q", env, args, clip(stdout))
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%q %q: %q does not name %q", env, args, clip(stderr), word)
		}
	}
	for _, bad := range []string{"goroutine ", "panic"} {
		if strings.Contains(stderr, bad) {
			t.Errorf("%q: %q", args, stderr)
		}
	}
}

func version(t *testing.T, _ *proxy) {
	code, stdout, stderr := exits(t, nil, "version")
	if code != 0 || !strings.Contains(stdout, "go1.") || !strings.Contains(stdout, "viaduct") || stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func unknownFlag(t *testing.T, _ *proxy) {
	complains(t, 1, nil, []string{"forward", "--alow-private"}, []string{"alow-private", "--allow-private"})
	complains(t, 1, nil, []string{"forward", "--header-timout", "1s"}, []string{"header-timout", "--header-timeout"})
	complains(t, 1, nil, []string{"forward", "--utterly-unknown"}, []string{"utterly-unknown"})
}

func unknownCommand(t *testing.T, _ *proxy) {
	complains(t, 1, nil, []string{"forwrad"}, []string{"forwrad"})
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "stray"}, []string{"stray"})
}

// senseless are values that their flags refuse.
var senseless = map[string][]string{
	"header-timeout": {"banana", "-1s", "10", ""}, "idle-timeout": {"1x"}, "dial-timeout": {"1s1"}, "drain-timeout": {"soon"}, "tunnel-idle-timeout": {"-5m"},
	"connect-ports": {"0", "65536", "443,abc", "-1", "443-", "any,x"}, "anonymity": {"loud", "Strict!"}, "max-header": {"64XB", "-1", "banana", "1"},
	"listen": {"nonsense", "127.0.0.1:65536", "127.0.0.1", "127.0.0.1:http-alt-x", "gopher://127.0.0.1:0", "[::1"},
}

func invalidValue(t *testing.T, _ *proxy) {
	for flag, values := range senseless {
		for _, value := range values {
			args := []string{"forward", "--" + flag, value}
			if flag != "listen" {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			complains(t, 1, nil, args, []string{flag})
		}
	}
}

func addressInUse(t *testing.T, _ *proxy) {
	o := newOrigin(t, echo)
	complains(t, 2, nil, []string{"forward", "--listen", o.addr}, []string{o.addr})
}

func logNotWritable(t *testing.T, _ *proxy) {
	complains(t, 2, nil, []string{"forward", "--listen", "127.0.0.1:0", "--access-log", "/nonexistent/dir/log"}, []string{"/nonexistent/dir/log"})
}

func environmentTwins(t *testing.T, _ *proxy) {
	env := []string{"VIADUCT_LISTEN=127.0.0.1:0", "VIADUCT_ALLOW_PRIVATE=true", "VIADUCT_CONNECT_PORTS=any", "VIADUCT_ANONYMITY=via", "VIADUCT_ACCESS_LOG=off"}
	p := launch{args: []string{"forward"}, env: env}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	if via := o.seen()[0].get("Via"); via != "1.1 viaduct" {
		t.Errorf("VIADUCT_ANONYMITY: Via is %q", via)
	}
	c.tunnel("{O}")
	p = launch{args: []string{"forward", "--anonymity", "strict"}, env: env}.start(t)
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}").without(t, "Via")
}

func invalidTwin(t *testing.T, _ *proxy) {
	complains(t, 1, []string{"VIADUCT_HEADER_TIMEOUT=banana"}, []string{"forward", "--listen", "127.0.0.1:0"}, []string{"banana"})
	complains(t, 1, []string{"VIADUCT_ALLOW_PRIVATE=perhaps"}, []string{"forward", "--listen", "127.0.0.1:0"}, []string{"perhaps"})
}

func open(t *testing.T, _ *proxy) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.55:0"} {
		complains(t, 1, nil, []string{"forward", "--listen", listen}, []string{"--open"})
	}
	p := launch{args: []string{"forward", "--listen", "0.0.0.0:0", "--open", "--allow-private", "--access-log", "off"}}.start(t)
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = "127.0.0.1:" + port
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
}

func accessLogStdout(t *testing.T, _ *proxy) {
	for flags, want := range map[string]int{"": 1, "off": 0, "-": 1} {
		args := []string{"forward", "--listen", "127.0.0.1:0", "--allow-private"}
		if flags != "" {
			args = append(args, "--access-log", flags)
		}
		p := launch{args: args}.start(t)
		pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
		p.stop(t)
		if got := strings.Count(p.out.String(), "\n"); got != want {
			t.Errorf("--access-log %q: %d lines on standard output, want %d: %q", flags, got, want, p.out.String())
		}
	}
}
