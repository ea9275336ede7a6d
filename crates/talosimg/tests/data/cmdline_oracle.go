// Writes cmdline.tsv: what go-procfs, the library behind the imager, makes of random command lines.
//
// To write it anew: go mod init x; go get github.com/siderolabs/go-procfs@v0.1.2; go run cmdline_oracle.go
package main

import (
	"fmt"
	"math/rand"
	"strings"

	"github.com/siderolabs/go-procfs/procfs"
)

func main() {
	r := rand.New(rand.NewSource(7))
	keys := []string{"console", "talos.platform", "a", "b", "c", "a.b"}
	vals := []string{"", "", "1", "2", "tty0", "ttyS2,1500000n8", "x=y", "-1", "\"q"}
	word := func(neg bool) string {
		k := keys[r.Intn(len(keys))]
		if neg && r.Intn(3) == 0 {
			k = "-" + k
		}
		if r.Intn(40) == 0 {
			k = "-"
		}
		if r.Intn(60) == 0 {
			k = "--" + k
		}
		v := vals[r.Intn(len(vals))]
		switch {
		case v == "" && r.Intn(2) == 0:
			return k
		default:
			return k + "=" + v
		}
	}
	list := func(n int, neg bool) []string {
		var l []string
		for i := r.Intn(n); i > 0; i-- {
			w := word(neg)
			if r.Intn(8) == 0 {
				w += "  " + word(neg)
			}
			l = append(l, w)
		}
		return l
	}
	for i := 0; i < 300; i++ {
		base, set, app, extra := list(5, false), list(5, i%5 == 0), list(5, false), list(6, true)
		c := procfs.NewCmdline(strings.Join(base, " "))
		c.SetAll(set)
		c.AppendAll(app)
		c.AppendAll(extra, procfs.WithOverwriteArgs("console"), procfs.WithOverwriteArgs("talos.platform"), procfs.WithDeleteNegatedArgs())
		fmt.Printf("%s\t%s\t%s\t%s\t%s\n", strings.Join(base, "|"), strings.Join(set, "|"), strings.Join(app, "|"), strings.Join(extra, "|"), c.String())
	}
}
