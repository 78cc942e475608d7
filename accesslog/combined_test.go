package accesslog_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"viaduct/accesslog"
)

type combinedLine struct {
	client, user, time           string
	method, target, version      string
	status, sent, referer, agent string
}

// A parser that knows no escapes, only quotes and blanks.
var combinedForm = regexp.MustCompile(`^([0-9a-f.:]+|-) - ([^ ]+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] ` +
	`"(?:-|([^" ]+) ([^" ]+) HTTP/1\.(\d+))" (\d{3,}) (-|[1-9]\d*) "([^"]+)" "([^"]+)"$`)

func readCombined(t testing.TB, line string) combinedLine {
	t.Helper()
	m := combinedForm.FindStringSubmatch(oneLine(t, line))
	if m == nil {
		t.Fatalf("not of the form: %q", line)
	}
	for i := range m {
		m[i] = unescape(t, undash(m[i]))
	}
	return combinedLine{m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10]}
}

func unescape(t testing.TB, s string) string {
	t.Helper()
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if len(after) < 3 || after[0] != 'x' {
			t.Fatalf("escaped in another way: %q", s)
		}
		n, err := strconv.ParseUint(after[1:3], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteByte(byte(n))
		s = after[3:]
	}
}

func TestCombinedLine(t *testing.T) {
	const want = `192.0.2.7 - joe [23/Nov/2026:12:04:05 +0000] "GET http://example.com/a/b HTTP/1.1" 502 1099511627776 ` +
		`"https://example.org/from" "curl/8.0 (x86_64)"` + "\n"
	if got := lineOf(t, entry(), accesslog.Combined); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	e := &accesslog.Entry{Time: entry().Time}
	const empty = `- - - [23/Nov/2026:12:04:05 +0000] "-" 000 - "-" "-"` + "\n"
	if got := lineOf(t, e, accesslog.Combined); got != empty {
		t.Errorf("got  %swant %s", got, empty)
	}
	e.Method = []byte("GET")
	const half = `- - - [23/Nov/2026:12:04:05 +0000] "GET - HTTP/1.0" 000 - "-" "-"` + "\n"
	if got := lineOf(t, e, accesslog.Combined); got != half {
		t.Errorf("got  %swant %s", got, half)
	}
}

func TestCombinedEscapesWhatEndsAField(t *testing.T) {
	e := entry()
	e.User = `joe [x] "`
	e.Method = []byte(`GET" 200 1 "`)
	e.Agent = []byte("a \"b\" \\ c\n1.2.3.4 - - [] \t\xff")
	e.Referer = []byte("-")
	const want = `192.0.2.7 - joe\x20[x]\x20\x22 [23/Nov/2026:12:04:05 +0000] "GET\x22\x20200\x201\x20\x22 http://example.com/a/b HTTP/1.1" ` +
		`502 1099511627776 "\x2D" "a \x22b\x22 \x5C c\x0A1.2.3.4 - - [] \x09\xFF"` + "\n"
	if got := lineOf(t, e, accesslog.Combined); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestRefererTellsNoSecret(t *testing.T) {
	for in, want := range map[string]string{
		"https://joe:s3cret@example.org/a?token=s3cret#s3cret": "https://example.org/a",
		"?token=s3cret":        "",
		"/a?token=s3cret":      "/a",
		"about:blank":          "about:blank",
		"android-app://a.b.c/": "android-app://a.b.c/",
	} {
		e := entry()
		e.Referer = []byte(in)
		if got := readCombined(t, lineOf(t, e, accesslog.Combined)).referer; got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestWhatClientsSendIsBounded(t *testing.T) {
	e := entry()
	long := strings.Repeat("\x00", 1<<20)
	e.Agent, e.Referer, e.Method, e.Target, e.User = []byte(long), []byte(long), []byte(long), []byte(long), long
	e.Rule, e.SNI, e.Cause = long, long, long
	for name, f := range formats {
		if n := len(lineOf(t, e, f)); n > 32<<10 {
			t.Errorf("%s: a line of %d bytes", name, n)
		}
	}
	if l := readCombined(t, lineOf(t, e, accesslog.Combined)); len(l.agent) != 512 || len(l.referer) != 2048 {
		t.Errorf("agent of %d bytes, referer of %d", len(l.agent), len(l.referer))
	}
}
