package cmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"viaduct/hop"
	"viaduct/server"
)

// bounds are the flags that bound a wait, with their defaults.
var bounds = []struct {
	name  string
	value time.Duration
	usage string
}{
	{"header-timeout", 10 * time.Second, "bound on the head of a request, from its first byte; for the first one from the connection's start"},
	{"body-timeout", 30 * time.Second, "bound on a gap in a request's body, and on a client that does not read"},
	{"dial-timeout", 4 * time.Second, "bound on name lookup and connecting"},
	{"response-timeout", time.Minute, "bound on the wait for the head of an answer, all tries together"},
	{"idle-timeout", 5 * time.Minute, "bound on the pause between requests, and on a gap in an answer's body"},
	{"upstream-idle-timeout", 30 * time.Second, "how long an idle connection to an origin is kept"},
	{"tunnel-idle-timeout", time.Hour, "bound on silence in a tunnel"},
	{"half-close-timeout", 5 * time.Minute, "bound on silence in a tunnel that one side has ended"},
	{"drain-timeout", 30 * time.Second, "how long exchanges and tunnels may take to end after SIGTERM"},
	{"drain-grace", 0, "how long to go on accepting after SIGTERM"},
}

func forwardCommand(errOut io.Writer) *cli.Command {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "listen", Value: cli.NewStringSlice("127.0.0.1:3128"), Usage: "`ADDR` to listen on: host:port or http://host:port; repeat for more"},
		&cli.BoolFlag{Name: "open", Usage: "let clients in from anywhere without authentication"},
		&cli.BoolFlag{Name: "allow-private", Usage: "lift the guard that refuses loopback, private, link-local and other inner addresses"},
		&cli.StringFlag{Name: "connect-ports", Value: "443,8443", Usage: "`LIST` of ports that CONNECT may reach, or any"},
		&cli.StringFlag{Name: "anonymity", Value: "strict", Usage: "what origins may learn: strict, via or transparent (`LEVEL`)"},
		&cli.StringFlag{Name: "access-log", Value: "-", Usage: "`PATH` of the access log, - for standard output, or off"},
		&cli.StringFlag{Name: "max-header", Value: "64KiB", Usage: "largest head of a request or answer (`SIZE`)"},
	}
	for _, b := range bounds {
		flags = append(flags, &cli.DurationFlag{Name: b.name, Value: b.value, Usage: b.usage})
	}
	withEnvironment(flags)
	return &cli.Command{
		Name:   "forward",
		Usage:  "run a forward proxy",
		Flags:  flags,
		Before: noArguments,
		Action: func(c *cli.Context) error { return runForward(c, errOut) },
	}
}

// withEnvironment gives every flag its twin in the environment.
func withEnvironment(flags []cli.Flag) {
	for _, f := range flags {
		env := []string{"VIADUCT_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))}
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = env
		case *cli.StringSliceFlag:
			f.EnvVars = env
		case *cli.BoolFlag:
			f.EnvVars = env
		case *cli.DurationFlag:
			f.EnvVars = env
		}
	}
}

func runForward(c *cli.Context, errOut io.Writer) error {
	conf, err := forwardConf(c)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(errOut, nil))
	s, err := server.New(conf, log)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a reader of the access log that leaves ends the log, not the proxy
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer close(signals) // ends obey
	defer signal.Stop(signals)
	ctx, stop := context.WithCancel(c.Context)
	hurry, cut := context.WithCancel(c.Context)
	defer cut()
	defer stop()
	go obey(signals, stop, cut)
	return s.Run(ctx, hurry)
}

// obey is the goroutine that waits for signals: the first one drains, the
// second one ends at once.
func obey(signals <-chan os.Signal, stop, cut context.CancelFunc) {
	<-signals
	stop()
	<-signals
	cut()
}

// forwardConf reads the flags.
func forwardConf(c *cli.Context) (server.Forward, error) {
	conf := server.Forward{
		Listen: c.StringSlice("listen"), Open: c.Bool("open"), AllowPrivate: c.Bool("allow-private"),
		AccessLog:     c.String("access-log"),
		HeaderTimeout: c.Duration("header-timeout"), BodyTimeout: c.Duration("body-timeout"),
		DialTimeout: c.Duration("dial-timeout"), ResponseTimeout: c.Duration("response-timeout"),
		IdleTimeout: c.Duration("idle-timeout"), UpstreamIdleTimeout: c.Duration("upstream-idle-timeout"),
		TunnelIdleTimeout: c.Duration("tunnel-idle-timeout"), HalfCloseTimeout: c.Duration("half-close-timeout"),
		DrainTimeout: c.Duration("drain-timeout"), DrainGrace: c.Duration("drain-grace"),
	}
	for _, b := range bounds {
		switch d := c.Duration(b.name); {
		case d < 0 && b.value == 0:
			return conf, server.UsageError(fmt.Sprintf("--%s %s: give a time of zero or more, such as 5s", b.name, d))
		case d <= 0 && b.value != 0:
			return conf, server.UsageError(fmt.Sprintf("--%s %s: every wait is bounded; give a time above zero, such as %s", b.name, d, b.value))
		}
	}
	var err error
	if conf.Anonymity, err = hop.ParseAnonymity(c.String("anonymity")); err != nil {
		return conf, server.UsageError("--anonymity: " + err.Error())
	}
	if conf.ConnectPorts, err = parsePorts(c.String("connect-ports")); err != nil {
		return conf, err
	}
	conf.MaxHeader, err = parseSize("max-header", c.String("max-header"))
	return conf, err
}

// parsePorts reads a list of ports; nil stands for any.
func parsePorts(list string) ([]uint16, error) {
	if list == "any" {
		return nil, nil
	}
	ports := []uint16{}
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(word), 10, 16)
		if err != nil || n == 0 {
			return nil, server.UsageError(fmt.Sprintf("--connect-ports %s: %q is no port; write numbers from 1 to 65535 with commas between them, or any", list, word))
		}
		ports = append(ports, uint16(n))
	}
	slices.Sort(ports)
	return ports, nil
}

// Bounds of --max-header.
const (
	minHeader = 1 << 10
	maxHeader = 1 << 20
)

// parseSize reads a number of bytes with its unit.
func parseSize(flag, s string) (int, error) {
	units := []struct {
		suffix string
		factor int
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"kB", 1000}, {"MB", 1000000}, {"B", 1}, {"", 1}}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err == nil && n >= 0 && n <= maxHeader && n*u.factor >= minHeader && n*u.factor <= maxHeader {
			return n * u.factor, nil
		}
		break
	}
	return 0, server.UsageError(fmt.Sprintf("--%s %s: write a size from 1KiB to 1MiB, such as 64KiB", flag, s))
}
