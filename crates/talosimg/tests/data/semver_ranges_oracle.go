// Prints how github.com/blang/semver/v4 reads version ranges, as Talos' extension validation calls it: a line for each range (as a JSON
// string), a column for each release (yes, no, error).
//
// To write it anew: go mod init x; go get github.com/blang/semver/v4@v4.0.0; go run semver_ranges_oracle.go >semver_ranges.tsv
package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/blang/semver/v4"
)

// trim is what pkg/machinery/extensions does in front.
func trim(constraint string) string {
	for i := 0; i < len(constraint); i++ {
		if constraint[i] == 'v' && i+1 < len(constraint) && constraint[i+1] >= '0' && constraint[i+1] <= '9' {
			constraint = constraint[:i] + constraint[i+1:]
		}
	}
	return constraint
}

func main() {
	ranges := []string{
		">= v1.0.0", ">= 1.0.0", ">=1.0.0", ">=v1.10.0 <v1.11.0", ">= v1.10.0 < v1.11.0", ">= v1.11.0", "> v1.10.6",
		"> 1.10.5", "< 1.10.6", "<= 1.10.6", "<= v1.10.5", "1.10.6", "=1.10.6", "==1.10.6", "= 1.10.6", "== v1.10.6",
		"!1.10.6", "!=1.10.6", "!= 1.10.6", "! 1.10.6", "!v1.13.9", "1.10.x", "1.x", "1.x.x", "x", "1.10.X", "1.10",
		"1", "v1", "v1.10", ">=1.10", ">= 1.10.x", "> 1.10.x", "< 1.10.x", "<= 1.10.x", "!= 1.10.x", "! 1.10.x",
		"=1.10.x", "==1.x", ">1.x", ">=1.x", "<1.x", "<=1.x", "!=1.x", "!1.x", ">1.x.x", "<=1.x.x", "!=1.x.x", "<2.x.x",
		">=1.10.0-alpha.0", ">1.10.6-beta.1", "<1.10.6-beta.1", "<=1.10.6-rc.0", "=1.10.6-rc.0", "1.10.6-rc.0", "!=1.10.6-rc.0",
		">= 1.10.6-nanopi-m6", ">1.10.6+build", "=1.10.6+build.5", "=1.10.6-a+b", ">=1.10.6-01", ">=1.10.6-0a", ">=1.10.6-", ">=1.10.6+",
		"<1.10.0 || >=1.12.0", ">=1.10.0 <1.11.0 || >=1.13.0", "1.10.6 || 1.13.9", "1.10.x || 1.13.x", "||", "|| 1.10.6", "1.10.6 ||",
		"1.10.6||1.13.9", "1.10.6 |1.13.9", "1.10.6 | 1.13.9", ">1.0.0 <2.0.0 !1.10.6", ">1.0.0 <2.0.0 !=1.10.x || >3.0.0",
		"", " ", "  ", "a", "latest", "*", "^1.10.0", "~1.10.0", "~> 1.10.0", "^1.10.x", "~1.10.x", "=>1.10.0", "=<1.10.0", "<>1.10.0", "=! 1.10.6",
		" >= 1.10.0", ">= 1.10.0 ", ">=  1.10.0", ">=1.10.0  <1.12.0", ">= 1.10.0  <  1.12.0", "> = 1.10.0", "\t>=1.10.0", ">=\t1.10.0", ">=1.10.0\n", ">=1.10.0\t<1.12.0",
		">=01.10.0", ">=1.010.0", ">=1.10.06", ">=1.10.6.1", ">=1..6", ">=.10.6", ">=1.10.", ">=-1.10.6", ">=+1.10.6", ">=1.10.6a", ">=1.10.99999999999999999999",
		">=18446744073709551615.0.0", "<18446744073709551616.0.0", "<18446744073709551615.x", "<=9223372036854775807.x", "<=9223372036854775806.x",
		"vv1.10.6", "v v1.10.6", ">=vv1.10.0", "v1.10.x", ">= v1.x", "1.xx", "1.10.xx", "1.x.6", "x.10.6", "1.x.x.x", "1.10.6.x", "1..x", "01.x", ">01.x", ">1.010.x", ">=1.10.6-fix", ">1.10.6-fix", "1.10.0-x", "1.10.6-rc.x", ">1.10.6-rc.x", "<1.10.6-rc.x", "=1.10.6-rc.x",
		">=1.10.0,<1.12.0", ">=1.10.0, <1.12.0", ">=1.10.0 and <1.12.0", ">= 1.10.0 <", "> 1.10.0 a", "1.10.6 1.13.9", "1.10.6 1.10.6", "= =1.10.6", ">=1.10.6 =1.10.6",
		">= 1.10.0 - 1.12.0", "1.10.0 - 1.12.0", "(>=1.10.0)", "\">=1.10.0\"", "≥1.10.0", ">=１.10.0", ">= 1.10.0 || x", "1 1.10.6", "2 >=1.10.0", "x 1.10.6",
	}
	releases := []string{"1.9.5", "1.10.0", "1.10.6", "1.11.0", "1.13.9", "2.0.0"}
	fmt.Printf("range\t%s\n", strings.Join(releases, "\t"))
	for _, text := range ranges {
		quoted, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		fmt.Print(string(quoted))
		parsed, err := semver.ParseRange(trim(text))
		for _, release := range releases {
			switch {
			case err != nil:
				fmt.Print("\terror")
			case parsed(semver.MustParse(release)):
				fmt.Print("\tyes")
			default:
				fmt.Print("\tno")
			}
		}
		fmt.Println()
	}
}
