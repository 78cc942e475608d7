// Origin is the far side of the lab: web sites over http and https, HTTP/2
// among them, git repositories, and the only name server that knows their
// names. It writes a line for every connection that reaches it.
//
//	origin -root DIR -dns ADDR [-certs FILE[,FILE…]] NAME=ADDR[,ADDR…] …
//
// A name stands for itself and for all names below it.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	root := flag.String("root", ".", "`DIR` whose files are served, git repositories in git/ among them")
	dns := flag.String("dns", "", "`ADDR` of the name server")
	certs := flag.String("certs", "", "`FILES` of the certificates for port 443, each with its key beside it, without .crt and .key; without one nobody listens there")
	flag.Parse()
	if err := run(*root, *dns, *certs, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// run serves until one of its servers fails.
func run(root, dns, certs string, names []string) error {
	z, err := parseZone(names)
	if err != nil {
		return err
	}
	pc, err := net.ListenPacket("udp", net.JoinHostPort(dns, "53"))
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	s := &http.Server{Handler: site(root), ConnState: note}
	go func() { failed <- z.serve(pc) }()
	go func() { failed <- s.Serve(plain) }()
	if certs != "" {
		if s.TLSConfig, err = shown(certs); err != nil {
			return err
		}
		secure, err := net.Listen("tcp", ":443")
		if err != nil {
			return err
		}
		go func() { failed <- s.ServeTLS(secure, "", "") }()
	}
	fmt.Println("ready")
	return <-failed
}

// shown loads the certificates: a client gets the one for the name that it asks
// for, else the first.
func shown(certs string) (*tls.Config, error) {
	t := new(tls.Config)
	for file := range strings.SplitSeq(certs, ",") {
		c, err := tls.LoadX509KeyPair(file+".crt", file+".key")
		if err != nil {
			return nil, err
		}
		t.Certificates = append(t.Certificates, c)
	}
	return t, nil
}

// note writes down who connected.
func note(c net.Conn, s http.ConnState) {
	if s == http.StateNew {
		fmt.Println("open", c.RemoteAddr(), c.LocalAddr())
	}
}

// site is what every name serves.
func site(root string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(root)))
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s %s %s\n", r.Method, r.Proto, r.Host)
	})
	mux.HandleFunc("/seen", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Powered-By", "the lab")
		_ = r.Header.Write(w)
	})
	mux.HandleFunc("/peer", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.RemoteAddr)
	})
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "%x\n", h.Sum(nil))
	})
	mux.HandleFunc("/echo", echo)
	mux.Handle("/git/", repositories(filepath.Join(root, "git")))
	return mux
}

// repositories serves those in dir with git's own program. CGI wants to know
// the length of a body, so a body in chunks is received first.
func repositories(dir string) http.Handler {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return http.NotFoundHandler()
	}
	backend := &cgi.Handler{
		Path:       filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Root:       "/git",
		Env:        []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=somebody"},
		InheritEnv: []string{"HOME"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 {
			whole, err := receive(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer whole.Close()
			st, err := whole.Stat()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			r.Body, r.ContentLength, r.TransferEncoding = whole, st.Size(), nil
		}
		backend.ServeHTTP(w, r)
	})
}

// receive keeps a body in a file that has no name any more.
func receive(body io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "body-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, body); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}
