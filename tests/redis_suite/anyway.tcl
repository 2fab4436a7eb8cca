# Read after the suite's own support/server.tcl, for units that are tagged external:skip and can be run all the same: what
# they would write into the configuration of a server of their own is set by CONFIG SET, as far as it can be.

rename tags_acceptable tags_acceptable_there
proc tags_acceptable {tags err_return} {
    upvar $err_return err
    return [tags_acceptable_there [lsearch -all -inline -not -exact $tags external:skip] err]
}

proc log_in_anyway {password} {
    set client [redis $::host $::port 0 $::tls]
    if {$password ne {}} {catch {$client auth $password}}
    return $client
}

# Runs the block of a start_server: two levels up, where it stands.
proc run_external_server_test {code overrides} {
    set client [log_in_anyway {}]
    regexp {process_id:(\d+)} [$client info server] -> pid
    lappend ::servers [dict create host $::host port $::port client $client pid $pid config [dict create port $::port] \
        stdout $::env(NODE_LOG) stderr $::env(NODE_LOG)]
    $client flushall
    $client function flush
    $client script flush
    $client config resetstat
    set before [$client config get *]
    foreach {name value} $overrides {
        if {[catch {$client config set $name $value} refusal]} {puts "not set: $name $value: $refusal"}
    }
    set password [expr {[dict exists $overrides requirepass] ? [dict get $overrides requirepass] : {}}]
    if {$password ne {}} reconnect

    if {[catch {uplevel 2 $code} failure]} {
        incr ::num_failed
        regsub {^assertion:} $failure {} failure
        send_data_packet $::test_server_fd err "$failure\n$::errorInfo"
    }

    set admin [log_in_anyway $password]
    if {[catch {$admin ping}]} {set admin [dict get [lindex $::servers end] client]} ;# the block has set a password
    catch {$admin config set requirepass {}}
    foreach {name value} [$admin config get *] {
        if {[dict get $before $name] ne $value} {catch {$admin config set $name [dict get $before $name]}}
    }
    set server [lindex $::servers end]
    set ::servers [lrange $::servers 0 end-1]
    foreach client [list $admin [dict get $server client]] {catch {$client close}}
}
