package cmd

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/config"
	"viaduct/lb"
	"viaduct/simulate"
)

const lbUsage = "write viaduct lb simulate"

func lbCommand() *cli.Command {
	return &cli.Command{
		Name:      "lb",
		Usage:     "try ways to balance on a pool that is described, with the code that is shipped",
		UsageText: "viaduct lb simulate [--policy NAME]... [--scenario NAME | --servers N ...]",
		Description: "Without flags: every policy in every scenario. The flags from --servers on describe a pool\n" +
			"of your own. Service times are lognormal, 10 ms in the mean; a request that finds all\n" +
			"slots of its server taken waits in line there. The same line gives the same figures,\n" +
			"until --seed says otherwise.",
		Flags:           append(commonFlags(), poolFlags()...),
		HideHelpCommand: true,
		Action:          lbSimulate,
	}
}

// commonFlags go with scenarios and own pools.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "policy", Usage: "only this `NAME`; repeat it for more: " + policyNames()},
		&cli.StringSliceFlag{Name: "scenario", Usage: "only this `NAME`; repeat it for more: " + scenarioNames()},
		&cli.StringFlag{Name: "requests", Usage: "play `N` requests", DefaultText: "100000; 200000 in freeze"},
		&cli.StringFlag{Name: "seed", Usage: "`N` is where chance begins", Value: "42", DefaultText: "42"},
		&cli.StringFlag{Name: "keys", Usage: "how requests share 10,000 keys, for hash, ring and maglev: `uniform|zipf`", Value: "uniform", DefaultText: "uniform"},
		&cli.StringFlag{Name: "hash-bound", Usage: "bound those policies to `F` times the mean load, over 1", DefaultText: "none"},
		&cli.StringFlag{Name: "slow-start", Usage: "`D` until a server has its share again that was ejected", DefaultText: "off"},
		&cli.BoolFlag{Name: "outlier", Usage: "with outlier detection", DisableDefaultText: true},
		&cli.StringFlag{Name: "plot", Usage: "draw the latencies into this `FILE`, as SVG"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON, one object a line", DisableDefaultText: true},
	}
}

// poolFlags describe a pool.
func poolFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "servers", Usage: "`N` servers", DefaultText: "20, or one for each weight"},
		&cli.StringFlag{Name: "slots", Usage: "each works on `N` requests at a time", DefaultText: "4"},
		&cli.StringFlag{Name: "load", Usage: "requests come as fast as a `SHARE` of what all servers can do, those that fail too", DefaultText: "0.8"},
		&cli.StringFlag{Name: "balancers", Usage: "`N` balancers that know nothing of each other", DefaultText: "4"},
		&cli.StringFlag{Name: "weights", Usage: "a `LIST` of weights, a number for each server: 5,1,1"},
		&cli.StringFlag{Name: "slow", Usage: "`KxF`: the first K servers are F times slower, or faster if F is below 1"},
		&cli.StringFlag{Name: "freeze", Usage: "`D` or KxD: the first K servers, or one, stop for this time, after a third of the play"},
		&cli.StringFlag{Name: "fail", Usage: "the last `K` servers fail at once"},
	}
}

func policyNames() string {
	var names []string
	for _, p := range lb.Policies() {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

func scenarioNames() string {
	var names []string
	for _, s := range simulate.Presets(0) {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func lbSimulate(c *cli.Context) error {
	if err := lbWords(c.Args().Slice()); err != nil {
		return err
	}
	policies, err := readPolicies(c)
	if err != nil {
		return err
	}
	scenarios, err := readScenarios(c)
	if err != nil {
		return err
	}
	tell := simulate.NewTable(c.App.Writer).Row
	if c.Bool("json") {
		tell = simulate.NewTable(c.App.Writer).JSON
	}
	if c.IsSet("plot") {
		return playAndPlot(c.String("plot"), scenarios, policies, tell)
	}
	return simulate.Each(scenarios, policies, tell)
}

// playAndPlot looks at the file before anybody waits in vain, and changes it when
// there is something to draw.
func playAndPlot(path string, scenarios []simulate.Scenario, policies []lb.Policy, tell func(*simulate.Scenario, simulate.Result) error) error {
	if err := writable(path); err != nil {
		return err
	}
	var results []simulate.Result
	err := simulate.Each(scenarios, policies, func(s *simulate.Scenario, r simulate.Result) error {
		results = append(results, r)
		return tell(s, r)
	})
	if err != nil {
		return err
	}
	var plot bytes.Buffer
	if err := simulate.Plot(&plot, scenarios, results); err != nil {
		return err
	}
	return os.WriteFile(path, plot.Bytes(), 0o666)
}

// writable tells whether a plot could be written. No file is changed, or left.
func writable(path string) error {
	if path == "" {
		return usageError("--plot: give the name of a file to draw into: plot.svg")
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeNamedPipe != 0 { // to open it would wait for a reader
		return fmt.Errorf("--plot %s: this is a pipe: give the name of a file", path)
	}
	_, missing := os.Lstat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("--plot: %w: give the name of a file that can be written", err)
	}
	if missing != nil {
		_ = os.Remove(path)
	}
	return f.Close()
}

// lbWords wants the one word that there is.
func lbWords(words []string) error {
	switch {
	case len(words) == 0:
		return usageError("lb does nothing by itself: " + lbUsage)
	case words[0] != "simulate" && config.Nearest(words[0], []string{"simulate"}) != "":
		return usageError(fmt.Sprintf("unknown command %q: did you mean \"lb simulate\"?", "lb "+words[0]))
	case words[0] != "simulate":
		return usageError(fmt.Sprintf("unknown command %q: %s", "lb "+words[0], lbUsage))
	case len(words) > 1:
		return usageError(fmt.Sprintf("lb simulate takes flags alone, but there is %q behind it", words[1]))
	}
	return nil
}

func readPolicies(c *cli.Context) ([]lb.Policy, error) {
	if !c.IsSet("policy") {
		return lb.Policies(), nil
	}
	var policies []lb.Policy
	for _, name := range c.StringSlice("policy") {
		p, err := lb.ParsePolicy(name)
		if err != nil {
			return nil, usageError("--policy: " + err.Error())
		}
		if !slices.Contains(policies, p) {
			policies = append(policies, p)
		}
	}
	return policies, nil
}

// readScenarios reads the flags that say what is played.
func readScenarios(c *cli.Context) ([]simulate.Scenario, error) {
	given := map[string]string{}
	for _, name := range simulate.Words() {
		if c.IsSet(name) {
			given[name] = c.String(name)
		}
	}
	scenarios, err := simulate.Read(given, c.StringSlice("scenario"))
	if err != nil {
		return nil, usageError("--" + err.Error())
	}
	for i := range scenarios {
		scenarios[i].Outlier = scenarios[i].Outlier || c.Bool("outlier")
	}
	return scenarios, nil
}
