package cmd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"viaduct/cmd"
)

// short is a play that is soon over.
const short = "lb simulate --requests 2000 "

func TestLbSimulate(t *testing.T) {
	code, out, errOut := run(t, "lb simulate --requests 1000")
	if code != 0 || errOut != "" {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	for _, want := range []string{
		"equal: 20 equal servers, load 0.8, 4 balancers\n  policy ", "\nslow-quarter: ", "\nslow-quarter-95: ", "\nfreeze: ", "\nfail-fast: ", "\nfail-fast-outlier: ",
		"\n  p2c_ewma  ", "\n  round_robin  ", "\n  weighted, true weights ", "\n  first  ", " share ", " p50 ", " p99 ", " p99.9 ", " errors\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	_, slow, _ := run(t, "lb simulate --requests 1000 --scenario slow-quarter")
	if _, again, _ := run(t, "lb --requests=1000 --scenario=slow-quarter simulate"); again != slow || !strings.Contains(out, slow) {
		t.Errorf("the same scenario gives\n%s\nand\n%s\nand\n%s", out, slow, again)
	}
	if _, other, _ := run(t, "lb simulate --requests 1000 --scenario slow-quarter --seed 43"); other == slow {
		t.Error("another seed gives the same")
	}
}

func TestLbSimulateOwnPool(t *testing.T) {
	for line, want := range map[string][]string{
		"--servers 3":                                                {"own: 3 servers with 4 slots, load 0.8, 4 balancers\n"},
		"--servers 1 --slots 1":                                      {"own: 1 server with 1 slot, load 0.8, 4 balancers\n"},
		"--load 0.5 --balancers 1":                                   {"own: 20 servers with 4 slots, load 0.5, 1 balancer\n"},
		"--weights 5,1,1":                                            {"own: 3 servers with 4 slots, weights 5,1,1, load 0.8, 4 balancers\n"},
		"--weights 5,1 --servers 2":                                  {"own: 2 servers with 4 slots, "},
		"--weights " + many(1000):                                    {"own: 1000 servers with 4 slots, with weights, load 0.8"},
		"--servers 4 --slow 1x0.005":                                 {"4 slots, 1 of them 200 times faster, load", "least_conn, true weights"},
		"--servers 4 --slow 3x0.001 --policy weighted":               {"3 of them 1000 times faster", "weighted, true weights"},
		"--servers 4 --slow 1x1000 --policy weighted":                {"1 of them 1000 times slower", "weighted, true weights"},
		"--fail 20 --balancers 1":                                    {", 20 fail at once, load 0.8, 1 balancer\n", " 100.00 %"},
		"--slow 5x3":                                                 {"20 servers with 4 slots, 5 of them 3 times slower, load 0.8", "least_conn, true weights"},
		"--slow 5×1.5":                                               {"5 of them 1.5 times slower"},
		"--freeze 500ms":                                             {", 1 freezes for 500ms, "},
		"--freeze 2x1s --fail 2":                                     {", 2 freeze for 1s, 2 fail at once, "},
		"--fail 1 --outlier":                                         {", 1 fails at once, load 0.8, 4 balancers, outlier detection\n"},
		"--slow-start 2s":                                            {"equal: ", "freeze: ", " balancers, slow start 2s\n"},
		"--keys zipf --scenario equal":                               {"equal: ", " balancers, zipf keys\n"},
		"--hash-bound 1.25 --keys zipf --policy hash":                {"equal: ", " balancers, zipf keys, bound 1.25\n"},
		"--scenario freeze,equal":                                    {"\nequal: "},
		"--scenario equal --policy hash --policy p2c":                {"  hash ", "  p2c "},
		"--policy p2c,p2c --scenario=fail-fast --scenario fail-fast": {"fail-fast: "},
	} {
		if !strings.Contains(line, "--policy") {
			line += " --policy least_conn"
		}
		code, out, errOut := run(t, short+line)
		if code != 0 || errOut != "" {
			t.Errorf("%s: exit %d, %s", line, code, errOut)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", line, w, out)
			}
		}
		if strings.Contains(line, "policy p2c,p2c") && strings.Count(out, "\n") != 3 {
			t.Errorf("%s: said twice:\n%s", line, out)
		}
	}
}

func TestLbSimulateJSON(t *testing.T) {
	code, out, errOut := run(t, short+"--json --servers 3 --policy first,p2c")
	if code != 0 || errOut != "" {
		t.Fatalf("exit %d, %s", code, errOut)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), out)
	}
	for i, policy := range []string{"first", "p2c"} {
		row := map[string]any{}
		if err := json.Unmarshal([]byte(lines[i]), &row); err != nil {
			t.Fatal(err)
		}
		if row["policy"] != policy || row["scenario"] != "own" || row["requests"] != 2000.0 || row["p99_ms"].(float64) <= 0 || row["unstable"] != (policy == "first") {
			t.Errorf("%s", lines[i])
		}
	}
}

// many weights, more than a line should repeat.
func many(n int) string { return strings.Repeat("1,", n-1) + "1" }

// full is a screen that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What was drawn before stays until there is something to draw, and what was not
// there is not left behind.
func TestLbSimulatePlotOfAPlayThatFails(t *testing.T) {
	old, fresh := filepath.Join(t.TempDir(), "plot.svg"), filepath.Join(t.TempDir(), "plot.svg")
	before := strings.Repeat("drawn before\n", 10_000)
	if err := os.WriteFile(old, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	line := short + "--servers 2 --policy first --plot "
	for _, file := range []string{old, fresh} {
		var e screen
		if code := cmd.Main(strings.Fields("viaduct "+line+file), full{}, &e); code != 2 {
			t.Errorf("exit %d, %s", code, e.String())
		}
	}
	if string(readFile(t, old)) != before {
		t.Error("what was drawn before is gone")
	}
	wantFiles(t, filepath.Dir(fresh))
	if code, _, errOut := run(t, line+old); code != 0 {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if text := string(readFile(t, old)); !strings.HasPrefix(text, "<svg ") || !strings.HasSuffix(text, "</svg>\n") || mode(t, old) != 0o640 {
		t.Errorf("mode %v, plot: %s", mode(t, old), text)
	}
	wantFiles(t, filepath.Dir(old), "plot.svg")
}

func TestLbSimulatePlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plot.svg")
	code, out, errOut := run(t, short+"--policy p2c_ewma,first --plot "+file)
	if code != 0 || errOut != "" || !strings.Contains(out, "slow-quarter-95: ") {
		t.Fatalf("exit %d, %s, %s", code, errOut, out)
	}
	if text := string(readFile(t, file)); !strings.HasPrefix(text, "<svg ") || !strings.Contains(text, ">slow-quarter-95<") {
		t.Errorf("plot: %s", text)
	}
	if m := mode(t, file); m&^0o777 != os.FileMode(0) {
		t.Errorf("mode %v", m)
	}
	wantFiles(t, filepath.Dir(file), "plot.svg")
}

func TestLbMistakes(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"lb", 1, "lb does nothing by itself: write viaduct lb simulate"},
		{"lb --servers 3", 1, "lb does nothing by itself: write viaduct lb simulate"},
		{"lb simulat", 1, `unknown command "lb simulat": did you mean "lb simulate"?`},
		{"lb balance", 1, `unknown command "lb balance": write viaduct lb simulate`},
		{"lb simulate equal", 1, `lb simulate takes flags alone, but there is "equal" behind it`},
		{"lb simulate --polcy p2c", 1, "unknown flag --polcy: did you mean --policy?"},
		{"forward --slow 5x3", 1, "unknown flag --slow: it belongs to viaduct lb"},
		{"lb simulate --policy fastest", 1, `--policy: "fastest" is no way to balance: write one of p2c_ewma, `},
		{"lb simulate --scenario worst", 1, `--scenario: "worst" is no scenario: write one of equal, slow-quarter, `},
		{"lb simulate --scenario equal --servers 3", 1, "--servers describes a pool, and a scenario has one already"},
		{"lb simulate --seed -1", 1, "--seed -1: give a whole number from 0 to 18446744073709551615"},
		{"lb simulate --requests many", 1, "--requests many: give a whole number from 1000 to 5000000"},
		{"lb simulate --requests 10", 1, "--requests 10: give a whole number from 1000 to 5000000"},
		{"lb simulate --requests 10 --servers 3", 1, "--requests 10: give a whole number from 1000 to 5000000"},
		{"lb simulate --requests 0x1000", 1, "--requests 0x1000: give a whole number"},
		{"lb simulate --servers 0", 1, "--servers 0: give a whole number from 1 to 1000"},
		{"lb simulate --servers 1000000000", 1, "--servers 1000000000: give a whole number from 1 to 1000"},
		{"lb simulate --servers 0 --weights 5,1", 1, "--servers 0: give a whole number from 1 to 1000"},
		{"lb simulate --servers=", 1, "--servers: give a whole number from 1 to 1000"},
		{"lb simulate --servers x", 1, "--servers x: give a whole number"},
		{"lb simulate --slots 0", 1, "--slots 0: give a whole number from 1 to 1000"},
		{"lb simulate --slots x", 1, "--slots x: give a whole number"},
		{"lb simulate --balancers 0", 1, "--balancers 0: give a whole number from 1 to 100"},
		{"lb simulate --load 0", 1, "--load 0: give a share of what all servers can do"},
		{"lb simulate --load 2.1", 1, "--load 2.1: give a share of what all servers can do, more than 0 and at most 2: 0.8"},
		{"lb simulate --load 0x1p-1", 1, "--load 0x1p-1: give a share"},
		{"lb simulate --load 1e-300 --freeze 1s", 1, "--load 1e-300: it takes more than 30 days: give more load"},
		{"lb simulate --servers 1 --slots 1 --requests 5000000 --slow 1x1000", 1, "--slow 1x1000: it takes more than 30 days: "},
		{"lb simulate --load 80%", 1, "--load 80%: give a share"},
		{"lb simulate --load NaN", 1, "--load NaN: give a share"},
		{"lb simulate --weights 5,x", 1, "--weights 5,x: give whole numbers from 0 to 1000000"},
		{"lb simulate --weights 5,-1", 1, "--weights 5,-1: give whole numbers from 0 to 1000000"},
		{"lb simulate --weights 5,1 --servers 3", 1, "--weights 5,1: these are 2 for 3 servers: give one for each"},
		{"lb simulate --weights 0,0", 1, "--weights 0,0: no server has a weight: give one of them more than 0"},
		{"lb simulate --weights " + many(1001), 1, "viaduct: --weights: these are 1001: give 1 to 1000, one for each server\n"},
		{"lb simulate --weights=", 1, "--weights: give whole numbers"},
		{"lb simulate --weights 1000001", 1, "--weights 1000001: give whole numbers from 0 to 1000000"},
		{"lb simulate --slow 3", 1, "--slow 3: write how many servers, and how many times slower they are, 0.001 to 1000: 5x3"},
		{"lb simulate --slow x3", 1, "--slow x3: begin with how many servers, from 1 to 20, and an x"},
		{"lb simulate --slow 5x", 1, "--slow 5x: write how many servers, and how many times slower they are"},
		{"lb simulate --slow 5x0", 1, "--slow 5x0: write how many servers, and how many times slower they are, 0.001 to 1000"},
		{"lb simulate --slow 5xNaN", 1, "--slow 5xNaN: write how many servers"},
		{"lb simulate --slow 21x3", 1, "--slow 21x3: begin with how many servers, from 1 to 20, and an x"},
		{"lb simulate --slow 0x9", 1, "--slow 0x9: begin with how many servers, from 1 to 20, and an x"},
		{"lb simulate --slow 1x0x1p1", 1, "--slow 1x0x1p1: write how many servers"},
		{"lb simulate --slow 4x0.00001", 1, "--slow 4x0.00001: write how many servers, and how many times slower they are, 0.001 to 1000"},
		{"lb simulate --freeze soon", 1, "--freeze soon: give a time with its unit, at most 720h: 1s, 500ms"},
		{"lb simulate --freeze 2x", 1, "--freeze 2x: give a time with its unit"},
		{"lb simulate --freeze 30x1s", 1, "--freeze 30x1s: begin with how many servers, from 1 to 20, and an x"},
		{"lb simulate --freeze 0x1s", 1, "--freeze 0x1s: begin with how many servers, from 1 to 20, and an x"},
		{"lb simulate --freeze 721h", 1, "--freeze 721h: give a time with its unit, at most 720h: 1s, 500ms"},
		{"lb simulate --fail 21", 1, "--fail 21: give a whole number from 0 to 20"},
		{"lb simulate --fail -1", 1, "--fail -1: give a whole number from 0 to 20"},
		{"lb simulate --fail some", 1, "--fail some: give a whole number"},
		{"lb simulate --keys some", 1, "--keys some: write uniform or zipf"},
		{"lb simulate --hash-bound 1", 1, "--hash-bound 1: give a number over 1: with 1.25, "},
		{"lb simulate --hash-bound x", 1, "--hash-bound x: give a number over 1"},
		{"lb simulate --slow-start 5", 1, "--slow-start 5: give a time with its unit"},
		{short + "--policy first --plot " + dir, 2, "--plot: open " + dir + ": is a directory: give the name of a file that can be written\n"},
		{short + "--policy first --plot " + dir + "/none/plot.svg", 2, "no such file or directory: give the name of a file that can be written\n"},
		{short + "--policy first --plot=", 1, "--plot: give the name of a file to draw into: plot.svg"},
		{short + "--plot " + pipe, 2, "--plot " + pipe + ": this is a pipe: give the name of a file"},
		{short + "--load 0 --plot " + dir + "/plot.svg", 1, "--load 0: "},
	} {
		wantMistake(t, c.line, c.code, c.want)
	}
	wantFiles(t, dir)
}

func TestLbHelp(t *testing.T) {
	for _, line := range []string{"lb --help", "help lb", "lb simulate -h"} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, word := range []string{"viaduct lb simulate", "--policy NAME", "p2c_ewma", "slow-quarter-95", "--slow KxF", "or faster if F is below 1", "those that fail too", "--plot FILE", "(default: 42)"} {
			if !strings.Contains(out, word) {
				t.Errorf("%q does not tell of %q:\n%s", line, word, out)
			}
		}
	}
	if _, out, _ := run(t, "help"); !strings.Contains(out, "try ways to balance") {
		t.Errorf("the help does not tell of it:\n%s", out)
	}
}
