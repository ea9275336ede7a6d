// Prints how gopkg.in/yaml.v3 writes strings, keys and options: a line for each case with its kind, the value as JSON
// and the text as a JSON string.
//
// To write it anew: go mod init x; go get gopkg.in/yaml.v3@v3.0.1; go run goyaml_oracle.go >goyaml.tsv
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

func emit(kind string, value, document any) {
	input, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	output, err := yaml.Marshal(document)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(string(output))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\t%s\t%s\n", kind, input, text)
}

type inner struct {
	Text string `yaml:"text"`
	Next string `yaml:"next"`
}

type item struct {
	Inner inner `yaml:"inner"`
}

func main() {
	texts := strings.Split("|a|20250708|1.0|1.10|v1.10.6|>= v1.0.0|null|Null|NULL|nUll|~|~a|true|True|tRUE|TRUE|false|yes|Yes|yEs|no|NO|on|off|Off|y|n|Y|N|"+
		"0|00|01|08|0777|0o17|0o18|0O17|0x1F|0X1f|0x|0xg|0b101|0b102|0B1|-0b1|+0b1|-0o7|-0x1|+1|-1|+|-|--|---|----|...|....|.|..|.5|.5e3|.e5|5.|5.5.5|1e3|1e|1e+|1e400|.5e400|-1e-400|1_000|_1|1_|1__0|0_x1|0x_1|._5|.5_0|"+
		"9223372036854775807|9223372036854775808|-9223372036854775808|-9223372036854775809|18446744073709551615|18446744073709551616|0xffffffffffffffff|0x1ffffffffffffffff|-0x8000000000000000|+0xffffffffffffffff|"+
		".inf|.Inf|.iNF|+.inf|-.INF|.nan|.NaN|+.nan|inf|nan|Infinity|<<|<|=|=a|"+
		"1:20|1:60|12:30:45|12:30:45.5|1:20:|1::20|-1:20|+1:2|1_0:20|a:20|190:20:30.15|1:2:3._|:20|1:200|"+
		"2025-07-08|2025-7-8|2025-02-30|2024-02-29|2023-02-29|1900-02-29|2000-02-29|2025-13-01|2025-00-01|2025-01-00|2025-01-32|25-01-01|02025-01-01|2025-01-01 |2025-01-01a|2025-|2025-1|2025-01-01T00:00:00Z|2025-01-01t00:00:00Z|2025-01-01T0:0:0Z|"+
		"2025-01-01T24:00:00Z|2025-01-01T23:60:00Z|2025-01-01T23:59:60Z|2025-01-01T00:00:00|2025-01-01 00:00:00|2025-01-01 1:2:3|2025-01-01 00:00:00Z|2025-01-01 00:00:00.123456789012|2025-01-01 00:00:00,5|2025-01-01 00:00:00.|2025-01-01T00:00:00.5+01:00|2025-01-01T00:00:00-25:00|2025-01-01T00:00:00+24:60|2025-01-01T00:00:00+24:61|2025-01-01T00:00:00+0100|2025-01-01T00:00:00z|2025-01-01  00:00:00|"+
		"a b| a|a |  | |a: b|a:b|a :b|a:|:|: a|:a|a #b|a#b|#a|# a|- a|-a|-a b|? a|?a|?|- |a - b|,a|a,b|[a]|{a}|a]|&a|*a|!a|%a|@a|`a|'a'|'|a'b|\"a\"|\"|a\"b|>a|console=ttyS2,1500000n8|-console|net.ifnames=0|"+
		"siderolink.api=https://omni.example?jointoken=a&b=c#d|talos.events.sink=[fdae:41e4:649b:9303::1]:8091|a\\b|\\|ü|日本|é: ü|A\u00a0B|\u00a0|\u200b|\u2028|a\u2028b|a\u2029b'c|a \u2028b|a\u2028 b|\u2028a|a\u2028|a\u2028\u2028b|\u0085|a\u0085b|\ufeff|\ufeffa|a\ufeffb|\ufffd|\ufffe|\uffff|\U0001F600|a\U0001F600b|\ud7ff|\ue000|\u0080|\u009f|ℼ|"+
		"\t|a\tb|\ta|a\t|\x00|a\x00b|\x01|\x07|\x08|\x0b|\x0c|\x1b|\x1f|\x7f|\r|a\rb|a\r|\ra|'\x07'|\"\\\x07|"+
		"\n|a\n|a\nb|a\nb\n|a\n\n|a\n\n\n|\na|\n\na|\n\n| a\n|  a\n b\n|a \n|a\n |a \nb|a\n b|a\nb |a\r\nb|a\r\n|a\n\tb|a\tb\n|\ta\n|a\n\nb\n|a\n# b\n|a\n---\nb\n|#a\n|a: b\nc: d\n|- a\n- b\n|a\x00\n|a\U0001F600\n|ü\nü\n|a\u2028\n|a\n\u2028b|\u2028\n|a\u0085\n|\ufeff\n|\ufeffa\nb|'a'\n\"b\"\n|yes\n|1\n|... \n|...\n|", "|")
	texts = append(texts, strings.Repeat("w ", 100)+"w", strings.Repeat("w", 300), strings.Repeat("it's ", 40)+"x", strings.Repeat("a: ", 60)+"x", strings.Repeat("\t w ", 60)+"x", "a|b", "|", "|a\n")
	for _, text := range texts {
		emit("top", text, map[string]string{"k": text})
		emit("nested", text, []item{{inner{text, "z"}}})
		emit("list", text, map[string][]string{"k": {text, "z"}})
		if !strings.ContainsAny(text, "\n\r\u0085\u2028\u2029") && len(text) <= 120 {
			emit("key", text, map[string]int{text: 1})
		}
	}
	for _, number := range []float64{0.5, 1.5, 100, 1e5, 123456, 1e6, 1234567, 1234567.5, 1e20, 1e21, 1e22, 1e-4, 1.5e-5, 0.00001, -2.5, math.Copysign(0, -1), 1e300, 5e-324, 3.14159265358979} {
		emit("float", number, map[string]any{"k": number})
	}
	var documents = []string{
		`{}`, `[]`, `null`, `"a"`, `true`, `12`, `-3`, `18446744073709551615`,
		`{"a":null,"b":true,"c":false,"d":-5,"e":"5","f":[],"g":{},"h":[[]],"i":[{}],"j":[[1,2],[3]],"k":{"l":{"m":["n",{"o":"p","q":["r"]}]}}}`,
		`[{"a":1,"b":2},{"a":3}]`, `[["a",["b",["c"]]],{"d":["e",{"f":{"g":"h\ni\n"}}]}]`, `{"a":["x\ny\n","z"],"b":"x\n y\n"}`,
		`{"b":1,"a":2,"B":3,"A":4,"a10":5,"a9":6,"a1":7,"_":8,"1":9,"10":10,"9":11,"a-b":12,"a.b":13,"ab":14,"a_b":15,"a01":16,"a001":17,"ü":18,"":19}`,
		`{"board":"nanopi-m6","chipset":"rk3588s","configTxt":"a\nb\n","serial":true}`,
		`{"v1.10":1,"v1.9":2,"v1.1":3,"v1":4,"v":5,"x2y":6,"x10y":7,"x2":8,"x02":9,"x20":10,"x200":11,"2a":12,"10a":13,"a2b":14,"a2-":15,"a-2":16}`,
	}
	for _, text := range documents {
		var value any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			panic(err)
		}
		value = numbers(value)
		emit("value", value, value)
	}
}

// numbers makes integers of what JSON calls numbers.
func numbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if number, err := strconv.ParseInt(value.String(), 10, 64); err == nil {
			return number
		}
		number, err := strconv.ParseUint(value.String(), 10, 64)
		if err != nil {
			panic(err)
		}
		return number
	case []any:
		for index := range value {
			value[index] = numbers(value[index])
		}
	case map[string]any:
		for key := range value {
			value[key] = numbers(value[key])
		}
	}
	return value
}
