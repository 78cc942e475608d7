package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The kinds of command that a proxy may have, each in a file KIND.cmd of a
// peer's folder. Those of a forward proxy begin alike.
const (
	forward         = "forward"           // HTTP forward proxy with CONNECT
	forwardAuth     = "forward-auth"      // it asks for a name and a password
	forwardList     = "forward-list"      // it denies a million names
	forwardAuthList = "forward-auth-list" // it does both
	forwardTLS      = "forward-tls"       // it speaks TLS to its clients
	forwardParent   = "forward-parent"    // it goes through a parent proxy
	forwardParents  = "forward-parents"   // it spreads over four of them
	forwardFilter   = "forward-filter"    // it takes the field of nothing off each request
	forwardInspect  = "forward-inspect"   // it inspects all TLS in its tunnels
	reverse         = "reverse"           // HTTP reverse proxy over the backends
	relay           = "relay"             // plain TCP relay to the origin: a floor for the tunnels
	relayTLS        = "relay-tls"         // the same with TLS to its clients
)

var kinds = []string{forward, forwardAuth, forwardList, forwardAuthList, forwardTLS, forwardParent, forwardParents, forwardFilter, forwardInspect, reverse, relay, relayTLS}

func isForward(kind string) bool { return strings.HasPrefix(kind, forward) }

func asksUser(kind string) bool { return kind == forwardAuth || kind == forwardAuthList }

func hasParent(kind string) bool { return kind == forwardParent || kind == forwardParents }

func hasList(kind string) bool { return kind == forwardList || kind == forwardAuthList }

// proxy is something to measure: a peer, which has a folder with KIND.cmd files,
// perhaps a build.cmd, and templates of its configuration; or a candidate.
type proxy struct {
	name string
	dir  string            // a peer's folder, absolute; empty for a candidate
	cmds map[string]string // by kind
}

func (p *proxy) kinds() string {
	var list []string
	for _, k := range kinds {
		if p.cmds[k] != "" {
			list = append(list, k)
		}
	}
	return strings.Join(list, " ")
}

// add gives p a command. A forward command that names a TLS port serves both.
func (p *proxy) add(kind, cmd string) {
	p.cmds[kind] = cmd
	if kind == forward && p.cmds[forwardTLS] == "" && strings.Contains(cmd, "{tlsport}") {
		p.cmds[forwardTLS] = cmd
	}
}

// chooseProxies lists the candidates, or viaduct when there is none, and the
// peers that were asked for.
func (o *options) chooseProxies() ([]proxy, error) {
	var list []proxy
	for _, c := range o.candidates {
		i := slices.IndexFunc(list, func(p proxy) bool { return p.name == c.name })
		if i < 0 {
			list = append(list, proxy{name: c.name, cmds: map[string]string{}})
			i = len(list) - 1
		}
		list[i].add(c.kind, c.cmd)
	}
	if len(list) == 0 && o.repo != "none" {
		own, err := o.viaduct()
		if err != nil {
			return nil, err
		}
		list = append(list, own)
	}
	peers, err := loadPeers(o.peersDir)
	if err != nil {
		return nil, err
	}
	switch o.peers {
	case "all":
		return append(list, peers...), nil
	case "none":
		return list, nil
	}
	for name := range strings.SplitSeq(o.peers, ",") {
		i := slices.IndexFunc(peers, func(p proxy) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no peer %q: see -list", name)
		}
		list = append(list, peers[i])
	}
	return list, nil
}

func loadPeers(root string) ([]proxy, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var list []proxy
	for _, d := range dirs {
		p := proxy{d.Name(), filepath.Join(root, d.Name()), map[string]string{}}
		for _, k := range kinds {
			text, err := os.ReadFile(filepath.Join(p.dir, k+".cmd"))
			if err == nil {
				p.cmds[k] = strings.TrimSpace(string(text))
			}
		}
		if len(p.cmds) > 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

// build runs the build.cmd of a peer, if it has one.
func (p *proxy) build(bin string) error {
	if p.dir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "build.cmd"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	return runIn(p.dir, "sh", "-c", strings.ReplaceAll(string(text), "{bin}", bin))
}

// runIn runs a command in a folder, with its output on our standard error.
func runIn(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
	return cmd.Run()
}

// ownCommands are the commands of viaduct by kind, each with the flags that a
// build must have to take part.
var ownCommands = []struct{ kind, flags, args string }{
	{forward, "--connect-ports", "--listen 127.0.0.1:{port}"},
	{forwardAuth, "--users", "--listen 127.0.0.1:{port} --users {users}"},
	{forwardList, "--deny", "--listen 127.0.0.1:{port} --deny host=@{dotlist}"},
	{forwardAuthList, "--users --deny", "--listen 127.0.0.1:{port} --users {users} --deny host=@{dotlist}"},
	{forwardTLS, "--tls-cert", "--listen https://127.0.0.1:{tlsport} --tls-cert {cert} --tls-key {key}"},
	{forwardParent, "--upstream", "--listen 127.0.0.1:{port} --upstream http://{parent}"},
	{forwardParents, "--upstream", "--listen 127.0.0.1:{port} --upstream http://{parent1} --upstream http://{parent2} --upstream http://{parent3} --upstream http://{parent4}"},
	{forwardInspect, "--inspect", "--listen 127.0.0.1:{port} --inspect all --ca {ca} --origin-ca {cert}"},
	{reverse, "--to", "--listen 127.0.0.1:{port} --listen https://127.0.0.1:{tlsport} --tls-cert {cert} --tls-key {key} --to {origins} --health-check none"},
}

// filterCommand starts viaduct with filters, which only a file can have.
const filterCommand = `sh -c 'echo "{log: {access: {path: off}}, forward: [{listen: 127.0.0.1:{port}, allow_private: true, connect_ports: any,` +
	` filters: [{request: {remove: [` + nothing + `]}}]}]}" >{dir}/viaduct.yaml; exec %s run -c {dir}/viaduct.yaml'`

// viaduct builds the checkout and takes part with what the build can do.
func (o *options) viaduct() (proxy, error) {
	own := proxy{name: "viaduct", cmds: map[string]string{}}
	work, err := filepath.Abs(o.work)
	if err != nil {
		return own, err
	}
	bin := filepath.Join(work, "bin", "viaduct")
	if err := runIn(o.repo, "env", "CGO_ENABLED=0", "GOWORK=off", "go", "build", "-o", bin, "."); err != nil {
		return own, fmt.Errorf("build viaduct in %s (another checkout: -repo): %w", o.repo, err)
	}
	for _, c := range ownCommands {
		mode, more, _ := strings.Cut(c.kind, "-")
		common := " --access-log off"
		if mode == forward {
			common += " --allow-private --connect-ports any"
		}
		help, err := exec.Command(bin, mode, "--help").Output()
		switch {
		case err == nil && knows(string(help), c.flags):
			own.add(c.kind, bin+" "+mode+common+" "+c.args)
			if c.kind == forwardInspect { // what filters and what inspects came into being together
				own.add(forwardFilter, fmt.Sprintf(filterCommand, bin))
			}
		case more != "" || mode == reverse:
			fmt.Fprintf(os.Stderr, "viaduct has no %s %s: it takes no part in %s\n", mode, c.flags, c.kind)
		}
	}
	return own, nil
}

// knows tells whether a help text has all the flags.
func knows(help, flags string) bool {
	for f := range strings.FieldsSeq(flags) {
		if !strings.Contains(help, f+" ") {
			return false
		}
	}
	return true
}
