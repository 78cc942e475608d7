package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

func main() {
	runtime.LockOSThread() // children are tied to the life of this thread
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := readOptions(os.Args[1:])
	if err != nil {
		return err
	}
	switch {
	case o.originPorts != "":
		return o.serveOrigin()
	case o.report != "":
		return o.printReport()
	case !o.list && os.Getenv("BENCH_PINNED") == "":
		return startOver(o.genCPUs)
	}
	ws, err := chooseWorkloads(o.workloads)
	if err != nil {
		return err
	}
	proxies, err := o.chooseProxies()
	if err != nil {
		return err
	}
	if err := o.checkPairs(proxies); err != nil {
		return err
	}
	if o.list {
		printList(proxies, ws)
		return nil
	}
	adopt()
	go endOnSignal()
	for i := range proxies {
		if err := proxies[i].build(filepath.Join(o.work, "bin")); err != nil {
			return fmt.Errorf("build %s: %w", proxies[i].name, err)
		}
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer b.close()
	for _, w := range ws {
		if err := o.print(b.measure(w, proxies)); err != nil {
			return err
		}
	}
	return nil
}

// endOnSignal ends everything that was started before it ends the program: what
// proxies start would outlive them.
func endOnSignal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	<-c
	poll(5*time.Second, func() bool {
		pids := descendants(os.Getpid())
		for _, p := range pids {
			_ = syscall.Kill(p, syscall.SIGKILL)
			_, _ = syscall.Wait4(p, nil, syscall.WNOHANG, nil)
		}
		return len(pids) == 0
	})
	os.Exit(130)
}

// startOver runs this program again on the generator's CPUs, so that the Go
// runtime counts only those.
func startOver(cpus string) error {
	path, err := exec.LookPath("taskset")
	if err != nil {
		return err
	}
	env := append(os.Environ(), "BENCH_PINNED=1")
	return syscall.Exec(path, append([]string{"taskset", "-c", cpus}, os.Args...), env)
}

func printList(proxies []proxy, ws []workload) {
	for _, p := range proxies {
		fmt.Printf("%-18s%s\n", p.name, p.kinds())
	}
	for _, w := range ws {
		fmt.Printf("%-6s%s\n", w.id, w.title)
	}
}

// print shows a table, and keeps it where asked to.
func (o *options) print(table string) error {
	fmt.Print(table)
	if o.out == "" {
		return nil
	}
	return appendFile(o.out, table)
}

func appendFile(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
