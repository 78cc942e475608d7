// Package admin is the operator's door: metrics and health over HTTP.
//
// Whoever reaches its address may be a web page in the operator's browser, whose
// name was made to point here (DNS rebinding). So a request must name this
// address by a name that nobody else could have chosen. Whoever reaches its
// socket in the file system has been let in by the mode of that file.
package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"viaduct/metrics"
)

// Options are what an Admin is handed.
type Options struct {
	Token   string                          // that clients must show; "" asks for none, which is for the loopback only. A socket in the file system asks for none
	Hosts   []string                        // names and addresses by which it may be called, beside its own
	Ready   func() error                    // nil: ready; the error says why not. A nil function is always ready
	Metrics *metrics.Metrics                // nil has none
	Explain func(ExplainQuery) (any, error) // what is told as JSON of a question; the error says what is wrong with it. A nil function leaves the page out
	Status  func() any                      // what is told as JSON of how things are. A nil function leaves the page out
	Log     *slog.Logger                    // nil logs nothing
}

// Admin answers an operator, as an http.Handler. It is immutable: a reload makes
// another.
type Admin struct {
	token     *[sha256.Size]byte // its hash, so that a comparison tells nothing of its length; nil asks for none
	hosts     map[host]bool
	ready     func() error
	metrics   *metrics.Metrics
	explainer func(ExplainQuery) (any, error)
	status    func() any
	pages     []page
}

// page is what stands at a path.
type page struct {
	path  string
	about string
	open  bool // needs no token
	serve http.HandlerFunc
}

// New makes an Admin. It starts nothing.
func New(o Options) *Admin {
	a := &Admin{hosts: make(map[host]bool, len(o.Hosts)), ready: o.Ready, metrics: o.Metrics, explainer: o.Explain, status: o.Status}
	for _, h := range o.Hosts {
		a.hosts[parseHost(h)] = true
	}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(o.Token))
		a.token = &sum
	}
	scrape := promhttp.HandlerFor(o.Metrics.Gatherer(), promhttp.HandlerOpts{
		ErrorLog:       slog.NewLogLogger(logger(o.Log).Handler(), slog.LevelWarn),
		ErrorHandling:  promhttp.ContinueOnError, // one value less is better than none
		CoalesceGather: true,
	})
	a.pages = []page{
		{"/", "this page", false, a.index},
		{"/metrics", "counters, for Prometheus", false, scrape.ServeHTTP},
		{"/healthz", "ok while the process lives", true, a.health},
		{"/readyz", "ready, or 503 and why not", true, a.readiness},
	}
	if o.Explain != nil {
		a.pages = append(a.pages, page{"/api/explain", "what would happen to ?url=…[&method=&user=&client=&addr=&listener=]", false, a.explain})
	}
	if o.Status != nil {
		a.pages = append(a.pages, page{"/api/status", "pools and their endpoints", false, a.tellStatus})
	}
	return a
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// ServeHTTP answers one request.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer a.count()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	p := a.find(r.URL.Path)
	switch {
	case !a.calledRightly(r):
		h.Set("Connection", "close") // a stranger has no business to stay
		say(w, http.StatusMisdirectedRequest, "The admin address is not known by this name: call it by its address, or add the name to the admin hosts.")
	case !p.open && !isLocal(r) && !a.authorized(r.Header["Authorization"]):
		h.Set("Connection", "close")
		h.Set("WWW-Authenticate", `Bearer realm="viaduct"`)
		say(w, http.StatusUnauthorized, "The admin token is needed, as Authorization: Bearer TOKEN.")
	case p.serve == nil:
		say(w, http.StatusNotFound, "There is nothing here: / lists what there is.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		say(w, http.StatusMethodNotAllowed, "Only GET and HEAD are known here.")
	default:
		p.serve(w, r)
	}
}

// find is the page at exactly this path: what is not there has no serve, and is
// not open.
func (a *Admin) find(path string) page {
	i := slices.IndexFunc(a.pages, func(p page) bool { return p.path == path })
	if i < 0 {
		return page{}
	}
	return a.pages[i]
}

// count counts a panic, and lets it go on to net/http, which logs it and ends the
// connection.
func (a *Admin) count() {
	if reason := recover(); reason != nil {
		a.metrics.Panicked()
		panic(reason)
	}
}

// authorized tells whether the fields show the token, once (RFC 6750 section
// 2.1).
func (a *Admin) authorized(fields []string) bool {
	if a.token == nil {
		return true
	}
	if len(fields) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	sum := sha256.Sum256([]byte(strings.TrimLeft(token, " ")))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
}

func (a *Admin) index(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	b.WriteString("viaduct\n\n")
	for _, p := range a.pages {
		fmt.Fprintf(&b, "%-14s%s\n", p.path, p.about)
	}
	say(w, http.StatusOK, b.String())
}

func (*Admin) health(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") }

func (a *Admin) readiness(w http.ResponseWriter, _ *http.Request) {
	if a.ready != nil {
		if err := a.ready(); err != nil {
			say(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	say(w, http.StatusOK, "ready")
}

// tellStatus answers how things are, as JSON.
func (a *Admin) tellStatus(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, a.status())
}

// say answers with plain text.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, strings.TrimSuffix(text, "\n")+"\n")
}

// Server is what serves an Admin: every wait of it is bounded, and so is the
// number of its connections. The caller runs Serve and Shutdown.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 30 * time.Second, // a scrape, and a reader that is slow
		IdleTimeout:                  30 * time.Second, // one that scrapes less often connects again, which is cheap
		MaxHeaderBytes:               8 << 10,
		DisableGeneralOptionsHandler: true, // OPTIONS * must name this address, too
		ConnState:                    (&visitors{open: map[net.Conn]bool{}}).see,
		ErrorLog:                     slog.NewLogLogger(logger(log).Handler(), slog.LevelWarn),
	}
}
