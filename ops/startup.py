"""Owns: the steps from a folder to a stack that answers. Must not know: commands, options, tables on screens."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ops import packages, prometheus, rabbitmq, topology
from ops.applications import CONNECTORS, GATEWAY, PSP, SERVICES, application_processes, probed_names
from ops.databases import create_databases
from ops.errors import StackError
from ops.external import wait_for_external_servers
from ops.folder import StackFolder
from ops.management import ManagementApi
from ops.migrations import migrate_all
from ops.ports import choose_ports, port_chooser
from ops.postgres import Cluster, place_data, system_user
from ops.postgres import find_binaries as find_postgres
from ops.processes import ProcessSpec
from ops.quorum import give_every_queue_a_leader, wait_until_running
from ops.readiness import Readiness
from ops.replication import close_replication, drop_slots, open_replication
from ops.sealing import seal, unseal
from ops.state import StackState, metrics_port_name, save_state
from ops.supervision import Supervision
from ops.waiting import Waiter
from shared.change_data.captured import outbox_slot, replication_role, slots_of

Report = Callable[[str], None]
_BROKER_PORTS = {"amqp": 0, "management": 15672, "distribution": 0, "broker_metrics": 0}
_DATABASE_PORTS = {"postgres": 0}
_GATEWAY_PORTS = {GATEWAY: 8000}
_PSP_PORTS = {PSP: 8001}
_MONITORING_PORTS = {prometheus.NAME: 9090}


class Startup:
    """One run of `up`, the operation lock being held."""

    def __init__(
        self, folder: StackFolder, state: StackState, supervision: Supervision, waiter: Waiter, report: Report
    ) -> None:
        self.state = state
        self._folder = folder
        self._supervision = supervision
        self._waiter = waiter
        self._report = report
        self._running = supervision.wanted_names()
        self._readiness = Readiness(folder, supervision, waiter)
        self._held = ExitStack()

    def run(self, *, migrate: bool = True, apply_topology: bool = True) -> None:
        """Everything in order; what runs already is left alone."""
        with self._held:
            self._end_leftovers()
            self._install_packages()
            self._choose_ports()
            infrastructure = self._prepare_infrastructure()
            kept = [] if self.state.infrastructure_only else self._running_applications()
            self._supervision.want([*infrastructure, *kept], self._waiter)
            self._open_databases()
            if migrate:
                self._migrate()
            self._open_broker()
            if apply_topology:
                self.apply_topology()
            if not self.state.infrastructure_only:
                self._open_replication()
                self._start_applications(infrastructure)
                self._close_replication()
            elif not self.state.cdc and self._has_connected:
                self._close_replication()

    def is_up_as_wanted(self) -> bool:
        """Whether a supervisor already runs exactly the processes this state asks for."""
        if self._supervision.pid() is None or not self._ports_known():
            return False
        wanted = [*self._infrastructure_processes(), *self._applications(), *self._monitoring()]
        return self._supervision.wants(wanted)

    def check_ready(self) -> None:
        """Wait until everything that runs answers."""
        if self.state.private_databases:
            self._readiness.wait_for_postgres(self.state)
        if self.state.private_broker:
            self._readiness.wait_for_rabbitmq(self.state)
            self._repair_queues()
        wait_for_external_servers(self.state, self._waiter)
        if not self.state.infrastructure_only:
            self._readiness.wait_for_application(self.state)
        if self._is_monitored:
            self._readiness.wait_for_prometheus(self.state)

    def _end_leftovers(self) -> None:
        left = self._supervision.end_leftovers(self.state.postgres_data)
        if left:
            self._report(f"ended what an earlier stack left behind: {', '.join(left)}")

    def _install_packages(self) -> None:
        missing = packages.missing_packages(
            broker=self.state.private_broker,
            database=bool(self.state.private_databases),
            monitoring=self._is_monitored,
            java=self.state.reads_logs,
        )
        if missing:
            packages.install(missing, self._report)

    def _wanted_ports(self) -> dict[str, int]:
        return {
            **(_DATABASE_PORTS if self.state.private_databases else {}),
            **(_BROKER_PORTS if self.state.private_broker else {}),
            **({} if self.state.infrastructure_only else {**_GATEWAY_PORTS, **_PSP_PORTS, **self._probe_ports()}),
            **(_MONITORING_PORTS if self._is_monitored else {}),
        }

    def _probe_ports(self) -> dict[str, int]:
        return {metrics_port_name(name): 0 for name in probed_names(self.state.replicas, cdc=self.state.cdc)}

    def _ports_known(self) -> bool:
        return set(self._wanted_ports()) <= set(self.state.ports)

    def _choose_ports(self) -> None:
        """Keep the ports of servers that run; for the others the remembered one if still free, else a new one."""
        in_use = {
            *(_DATABASE_PORTS if "postgres" in self._running else {}),
            *(_BROKER_PORTS if "rabbitmq" in self._running else {}),
            *(_GATEWAY_PORTS if GATEWAY in self._running else {}),
            *(_PSP_PORTS if PSP in self._running else {}),
            *(_MONITORING_PORTS if prometheus.NAME in self._running else {}),
            *(metrics_port_name(name) for name in self._running),
        }
        # What a release before this one started has no port for its metrics: it gets one, and is started anew.
        without = {name for name in self._probe_ports() if name not in self.state.ports}
        preferred = {name: port for name, port in self._wanted_ports().items() if name not in in_use - without}
        chooser = self._held.enter_context(port_chooser(self._folder.identity))
        try:
            chosen = choose_ports(chooser, remembered=self.state.ports, preferred=preferred)
        except OSError as error:
            raise StackError(str(error)) from error
        for name, port in chosen.items():
            before = self.state.ports.get(name, preferred[name])
            if not name.startswith(metrics_port_name("")) and before not in (0, port):
                self._report(f"port {before} is taken: {name} moves to {port}")
        self._remember(ports={**self.state.ports, **chosen})

    def _remember(self, **changes: object) -> None:
        self.state = self.state.changed(**changes)
        save_state(self._folder, self.state)

    def _prepare_infrastructure(self) -> list[ProcessSpec]:
        if self.state.private_databases and "postgres" not in self._running:
            user = system_user()
            data = Path(self.state.postgres_data or place_data(self._folder, user))
            self._remember(postgres_data=str(data))
            self._prepare_cluster(self._cluster())
        if self.state.private_broker and "rabbitmq" not in self._running:
            rabbitmq.start_port_mapper()
            self._node().prepare()
        return self._infrastructure_processes()

    def _infrastructure_processes(self) -> list[ProcessSpec]:
        return [
            *([self._cluster().process()] if self.state.private_databases else []),
            *([self._node().process()] if self.state.private_broker else []),
        ]

    def _cluster(self) -> Cluster:
        data = Path(self.state.postgres_data)
        binaries = find_postgres(data)
        if binaries is None:
            raise StackError(
                f"the data in {data} was made by another major version of PostgreSQL than the one installed",
                hint="install that version, or remove the stack with `ordersaga down --delete-data`",
            )
        return Cluster(
            binaries=binaries,
            data=data,
            user=system_user(),
            port=self.state.ports["postgres"],
            password=self.state.passwords["postgres"],
        )

    def _prepare_cluster(self, cluster: Cluster) -> None:
        existed = cluster.exists()
        if not existed:
            self._report(f"creating a PostgreSQL cluster in {cluster.data}")
        cluster.prepare()
        if existed and not self.state.cluster_opened:
            cluster.reset_password()

    def _node(self) -> rabbitmq.Node:
        return rabbitmq.Node(folder=self._folder, state=self.state)

    def _open_databases(self) -> None:
        private = self.state.private_databases
        if private:
            self._readiness.wait_for_postgres(self.state)
            self._remember(cluster_opened=True)
            administrator = self.state.database_url("postgres", role="postgres")
            create_databases(administrator, private, self.state.passwords)
            self._report(f"PostgreSQL answers on 127.0.0.1:{self.state.ports['postgres']}")
        wait_for_external_servers(self.state, self._waiter)

    def _migrate(self) -> None:
        """The audit logs are in their services' hands only meanwhile."""
        private = [name for name in self.state.private_databases if name in SERVICES]
        administrator = self.state.database_url("postgres", role="postgres") if private else ""
        unseal(administrator, private)
        try:
            migrate_all(self._folder, self.state, self._waiter)
        finally:
            seal(administrator, private)
        self._report("databases are migrated")

    @property
    def _has_connected(self) -> bool:
        """Whether connectors have run here and their slots are not taken back yet."""
        return any((self._folder.connectors / name).exists() for name in CONNECTORS)

    @property
    def _replicating(self) -> list[str]:
        return [name for name in self.state.private_databases if name in SERVICES]

    def _open_replication(self) -> None:
        """The roles that read the log; after the migrations, which say what is published."""
        if self.state.reads_logs and self._replicating:
            administrator = self.state.database_url("postgres", role="postgres")
            passwords = {name: self.state.passwords[replication_role(name)] for name in self._replicating}
            open_replication(administrator, passwords)

    def _close_replication(self) -> None:
        """Taken back: no log is kept for those who do not read it any more, and nobody remembers where they were."""
        if not self._replicating:
            return
        administrator = self.state.database_url("postgres", role="postgres")
        if not self.state.reads_logs:
            close_replication(administrator, self._replicating)
        for service in self._replicating if self.state.reads_logs else []:
            wanted = {outbox_slot(service): self.state.relays_by_log}
            drop_slots(administrator, service, [s for s in slots_of(service) if not wanted.get(s, self.state.cdc)])
        if not self.state.cdc:
            for name in CONNECTORS:
                shutil.rmtree(self._folder.connectors / name, ignore_errors=True)

    def _open_broker(self) -> None:
        if self.state.private_broker:
            self._readiness.wait_for_rabbitmq(self.state)
            self._node().mark_booted()
            self._report(f"RabbitMQ answers on 127.0.0.1:{self.state.ports['amqp']}")

    def apply_topology(self) -> None:
        """Bring exchanges, queues and bindings onto the broker and see every queue alive."""
        definitions = topology.for_nodes(topology.load_definitions(), self.state.amqp_uri())
        management = self.state.management_url(rabbitmq.ADMINISTRATOR)
        if self.state.private_broker:
            api = ManagementApi(management or "")
            topology.apply_to_private_broker(api, definitions, self.state.passwords)
            self._repair_queues()
        elif management is not None:
            vhost = topology.vhost_of(self.state.amqp_uri())
            topology.apply_to_vhost(ManagementApi(management), definitions, vhost)
            wait_until_running(ManagementApi(management), vhost, self._waiter)
        else:
            topology.apply_over_amqp(self.state.amqp_uri(), definitions)
            self._report(
                "policies and users were not applied: AMQP cannot carry them; set RABBITMQ_MANAGEMENT_URL for policies"
            )
        self._report(f"topology applied: {len(definitions.get('queues', []))} queues")

    def _repair_queues(self) -> None:
        repaired = give_every_queue_a_leader(self._node(), self._waiter)
        if repaired:
            self._report(f"queues without a leader were repaired: {', '.join(sorted(repaired))}")

    def _applications(self) -> list[ProcessSpec]:
        return [] if self.state.infrastructure_only else application_processes(self._folder, self.state)

    @property
    def _is_monitored(self) -> bool:
        return self.state.monitoring and not self.state.infrastructure_only

    def _monitoring(self) -> list[ProcessSpec]:
        return [prometheus.process(self._folder, self.state)] if self._is_monitored else []

    def _running_applications(self) -> list[ProcessSpec]:
        return [spec for spec in [*self._applications(), *self._monitoring()] if spec.name in self._running]

    def _start_applications(self, infrastructure: list[ProcessSpec]) -> None:
        applications = self._applications()
        prometheus.write_targets(self._folder, self.state, [spec.name for spec in applications])
        if self._is_monitored:
            prometheus.write_configuration(self._folder)
        self._report(f"starting {len(applications)} processes")
        self._supervision.want([*infrastructure, *applications, *self._monitoring()], self._waiter)
        self._readiness.wait_for_application(self.state)
        self._report(f"the gateway answers on {self.state.gateway_url}")
        if self._is_monitored:
            self._readiness.wait_for_prometheus(self.state)
            self._report(f"Prometheus answers on {self.state.prometheus_url}")
