package test

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// web is an ordinary origin on net/http for real clients: /bytes?n= sends,
// /sum answers the checksum of what was sent, / says hello.
func web() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s %s", r.Method, r.Proto) })
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("length") {
			w.Header().Set("Content-Length", fmt.Sprint(download))
		}
		w.Write(stuff(1, download))
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no uploads here", http.StatusForbidden)
	})
	return mux
}

const download = 32 << 20

// run runs a real client; extra is its environment.
func run(t *testing.T, extra []string, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: %v", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, extra...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, clip(errs.String()), clip(out.String()))
	}
	return out.String()
}

// sites are the web by http and by https.
func sites(t *testing.T) (plain, secure string) {
	t.Helper()
	a, b := httptest.NewServer(web()), httptest.NewTLSServer(web())
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	return a.URL, b.URL
}

// same compares long outputs by their length and checksum.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %d bytes %q, want %d bytes %q", what, len(got), clip(got), len(want), clip(want))
	}
}

func TestCurl(t *testing.T) {
	p := start(t)
	plain, secure := sites(t)
	curl := func(t *testing.T, args ...string) string {
		t.Helper()
		return run(t, nil, "curl", append([]string{"-sS", "-k", "--max-time", "25", "-x", "http://" + p.addr}, args...)...)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"http":         {[]string{plain + "/x"}, "hello GET HTTP/1.1"},
		"https":        {[]string{"--http1.1", secure + "/x"}, "hello GET HTTP/1.1"},
		"https-1.0":    {[]string{"--proxy1.0", p.addr, "--http1.1", secure + "/x"}, "hello GET HTTP/1.1"},
		"proxytunnel":  {[]string{"-p", plain + "/x"}, "hello GET HTTP/1.1"},
		"http-1.0":     {[]string{"-0", plain + "/x"}, "hello GET HTTP/1.1"},
		"two-urls":     {[]string{plain + "/x", plain + "/y"}, "hello GET HTTP/1.1hello GET HTTP/1.1"},
		"head":         {[]string{"-I", "-o", "/dev/null", "-w", "%{http_code}", plain + "/x"}, "200"},
		"delete":       {[]string{"-X", "DELETE", plain + "/x"}, "hello DELETE HTTP/1.1"},
		"form":         {[]string{"-d", "a=b", plain + "/sum"}, fmt.Sprintf("3 %x", sha256.Sum256([]byte("a=b")))},
		"form-expect":  {[]string{"-H", "Expect: 100-continue", "-d", "a=b", plain + "/sum"}, fmt.Sprintf("3 %x", sha256.Sum256([]byte("a=b")))},
		"form-chunked": {[]string{"-H", "Transfer-Encoding: chunked", "-d", "a=b", plain + "/sum"}, fmt.Sprintf("3 %x", sha256.Sum256([]byte("a=b")))},
		"user-agent":   {[]string{"-A", "", plain + "/x"}, "hello GET HTTP/1.1"},
		"refused":      {[]string{"-o", "/dev/null", "-w", "%{http_code}", "http://" + refusing(t) + "/"}, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, name, curl(t, c.args...), c.want)
		})
	}
	t.Run("download", func(t *testing.T) {
		want := string(stuff(1, download))
		for _, url := range []string{plain + "/bytes", plain + "/bytes?length", secure + "/bytes"} {
			same(t, url, curl(t, url), want)
		}
	})
	t.Run("upload", func(t *testing.T) {
		file, want := uploadFile(t)
		for _, args := range [][]string{{plain + "/sum"}, {"-0", plain + "/sum"}, {"-H", "Transfer-Encoding: chunked", plain + "/sum"}, {secure + "/sum"}, {"-H", "Expect:", plain + "/sum"}} {
			same(t, fmt.Sprint(args), curl(t, append([]string{"-T", file}, args...)...), want)
		}
		same(t, "refused", curl(t, "-T", file, "-o", "/dev/null", "-w", "%{http_code}", plain+"/refuse"), "403")
	})
}

func uploadFile(t *testing.T) (path, want string) {
	t.Helper()
	data := stuff(2, 8*mib)
	path = filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%d %x", len(data), sha256.Sum256(data))
}

// TestCurlFails looks at what curl makes of the ends that are not happy: its
// exit code tells a cut answer from a whole one.
func TestCurlFails(t *testing.T) {
	p := start(t)
	guarded := startBare(t)
	cutShort := newOrigin(t, saysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
	cutChunk := newOrigin(t, saysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
	for name, c := range map[string]struct {
		proxy *proxy
		args  []string
		codes string // exit codes that are right
		says  string
	}{
		"short-of-length": {p, []string{"http://" + cutShort.addr + "/"}, "18", ""},
		"cut-in-chunks":   {p, []string{"http://" + cutChunk.addr + "/"}, "18 56", ""},
		"tunnel-refused":  {p, []string{"-p", "http://" + refusing(t) + "/"}, "56", "502"},
		"tunnel-denied":   {guarded, []string{"https://127.0.0.1:443/"}, "56", "403"},
		"plain-denied":    {guarded, []string{"-f", "http://127.0.0.1:80/"}, "22", "403"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("curl", append([]string{"-sS", "--max-time", "20", "-x", "http://" + c.proxy.addr}, c.args...)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := fmt.Sprint(cmd.ProcessState.ExitCode()); !strings.Contains(c.codes, code) || !strings.Contains(string(out), c.says) {
				t.Errorf("exit code %s, %q; want %s and %q", code, out, c.codes, c.says)
			}
		})
	}
}

func TestCurlByEnvironment(t *testing.T) {
	p := start(t)
	plain, secure := sites(t)
	env := []string{"http_proxy=http://" + p.addr, "HTTPS_PROXY=http://" + p.addr}
	same(t, "http", run(t, env, "curl", "-sS", plain+"/x"), "hello GET HTTP/1.1")
	same(t, "https", run(t, env, "curl", "-sSk", "--http1.1", secure+"/x"), "hello GET HTTP/1.1")
	poll(t, "two lines in the access log: curl did not go round the proxy", func() bool { return strings.Count(p.accessLog(t), "\n") == 2 })
}

func TestWget(t *testing.T) {
	p := start(t)
	plain, secure := sites(t)
	env := []string{"http_proxy=http://" + p.addr, "https_proxy=http://" + p.addr}
	wget := func(args ...string) string {
		t.Helper()
		return run(t, env, "wget", append([]string{"-q", "-O", "-", "--tries=1", "--timeout=25", "--no-check-certificate"}, args...)...)
	}
	same(t, "http", wget(plain+"/x"), "hello GET HTTP/1.1")
	same(t, "https", wget(secure+"/x"), "hello GET HTTP/1.1")
	same(t, "two", wget(plain+"/x", plain+"/y"), "hello GET HTTP/1.1hello GET HTTP/1.1")
	same(t, "post", wget("--post-data=a=b", plain+"/sum"), fmt.Sprintf("3 %x", sha256.Sum256([]byte("a=b"))))
	want := string(stuff(1, download))
	same(t, "download", wget(plain+"/bytes?length"), want)
	same(t, "chunked download", wget(plain+"/bytes"), want)
	same(t, "https download", wget(secure+"/bytes"), want)
	file, sum := uploadFile(t)
	same(t, "upload", wget("--method=PUT", "--body-file="+file, plain+"/sum"), sum)
	same(t, "upload by https", wget("--method=PUT", "--body-file="+file, secure+"/sum"), sum)
}

// TestGoClient runs Go's own client through the proxy.
func TestGoClient(t *testing.T) {
	p := start(t)
	plain, secure := sites(t)
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr}),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 2 * patience}
	for _, target := range []string{plain + "/x", secure + "/x", plain + "/x"} {
		answer, err := client.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(body) != "hello GET HTTP/1.1" {
			t.Errorf("%s: %q, %v", target, body, err)
		}
	}
}
