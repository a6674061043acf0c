"""The training loop."""

import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from rle_onestage.compat import create_ddp_model
from rle_onestage.data.batches import LostWorkers
from rle_onestage.data.lookup import known_joints, known_skeleton
from rle_onestage.engine import hooks
from rle_onestage.engine.builders import TrainerBuilders
from rle_onestage.engine.checkpoint import apply_weights, read_checkpoint, save_checkpoint, shares
from rle_onestage.engine.checkpoint import resume as resuming
from rle_onestage.engine.checkpoint.joints import naming
from rle_onestage.engine.checkpoint.last import check_places, last_checkpoint
from rle_onestage.engine.checkpoint.origin import recorded_origin, stating
from rle_onestage.engine.checkpoint.retention import BestCheckpoint, RecentCheckpoints, periodic_name
from rle_onestage.engine.checkpoint.start import start_from_weights
from rle_onestage.engine.config.conflicts import warn_of_schedule
from rle_onestage.engine.config.validation import validate_training
from rle_onestage.engine.device import amp_dtype, autocast
from rle_onestage.engine.ema import ModelEMA
from rle_onestage.engine.expected import check_best_name, check_expected_names, check_expected_values
from rle_onestage.engine.inference import MetricsUnwritten, flat_metrics, share_buffers
from rle_onestage.engine.logs import release_logs, report_data, tell_extent
from rle_onestage.engine.memory import keep_freed_memory
from rle_onestage.engine.models import prepare
from rle_onestage.engine.optimizer import GradientClipper
from rle_onestage.engine.processes import lock
from rle_onestage.engine.processes.meeting import is_lost_partner
from rle_onestage.engine.processes.watch import EvaluationStopped, interruptible
from rle_onestage.engine.setup import claim_output, seed_everything, settle_seed
from rle_onestage.engine.step_metrics import StepMetrics, check_finite_weights
from rle_onestage.engine.takeover import take_over
from rle_onestage.errors import DataError
from rle_onestage.modeling.tables import start_training_anew
from rle_onestage.modeling.trained_parts import train_only
from rle_onestage.utils.safe_files import remove_unfinished
from rle_onestage.utils.signals import StopRequest

logger = logging.getLogger("rle_onestage")


class Trainer(TrainerBuilders):
    """Trains the config's model; used like Detectron2's ``DefaultTrainer``::

        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()

    Every step reseeds Python, numpy and torch from (seed, process, iteration), and the data is a function of (seed,
    iteration), so a run that was killed and resumed gives the same weights as one that was not.

    Args:
        cfg: the frozen config; ``SEED`` settled (see :func:`rle_onestage.engine.setup.setup`).
        data_first: make the loader before the model, so that what is wrong with the data sets is said at once.
    """

    def __init__(self, cfg: CfgNode, *, data_first: bool = False):
        super().__init__()
        self._given_cfg = settle_seed(cfg)  # what is written: another number of processes scales it anew
        self.cfg = cfg = shares.scaled_to(self._given_cfg, comm.get_world_size())
        self.seed = cfg.SEED
        self._made_first = self.build_train_loader(cfg) if data_first else None
        self.joints = known_joints(cfg)
        self.origin: list[str] | None = None  # of the weights, where that is known
        seed_everything(self.seed)  # the same first weights in every process, and in every run with this seed
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.model: Any = self.build_model(cfg)  # what it has beside a module depends on the architecture
        self.model.train()
        train_only(self.model, cfg.SOLVER.TRAIN_ONLY)  # of an architecture that does not read the key itself
        self.optimizer = self.build_optimizer(cfg, self.model)
        self.scheduler = self.build_lr_scheduler(cfg, self.optimizer)
        self.clip_gradients = GradientClipper.from_config(cfg, self.model)
        self.amp_dtype = amp_dtype(cfg, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_dtype == torch.float16)
        average = cfg.SOLVER.EMA
        self.ema = ModelEMA(self.model, decay=average.DECAY, warmup=average.WARMUP) if average.ENABLED else None
        self.results: Mapping[str, Any] = {}
        self.saved_iter: int | None = None
        # Tells this training's files from another's in the folder; that of the first process counts.
        self.run: str | None = secrets.token_hex(16)
        self.best = BestCheckpoint(cfg.OUTPUT_DIR, cfg.TEST.BEST_METRIC)
        self.recent = RecentCheckpoints(cfg.OUTPUT_DIR, cfg.SOLVER.CHECKPOINT_KEEP)
        self._data: Iterator[list[dict]] = iter(())
        self._first_batch: list[dict] | None = None
        self._begun = False  # whether the checkpoints in the folder are of this training
        self._stop = StopRequest()
        single_cpu = comm.get_world_size() == 1 and self.device.type == "cpu"
        self._metrics = StepMetrics(immediate=single_cpu)
        self.register_hooks(self.build_hooks())

    # ---------------------------------------------------------------- start

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from ``OUTPUT_DIR``'s last checkpoint, if ``resume`` and there is one; else take ``MODEL.WEIGHTS``.

        Raises:
            CheckpointError, ConfigError: see :func:`rle_onestage.engine.checkpoint.start.start_from_weights`.
        """
        path = shares.agreed_checkpoint(self.cfg.OUTPUT_DIR) if resume else None
        if path is not None:
            self._resume(path)
            return
        validate_training(self.cfg)
        if resume:
            logger.warning("--resume finds no checkpoint in %s: starting from the beginning", self.cfg.OUTPUT_DIR)
        self.origin = start_from_weights(self.model, self.cfg, self.joints)
        if self.cfg.MODEL.WEIGHTS:
            start_training_anew(self.model)  # before the averages are copies of it
            if self.ema is not None:
                self.ema.load_state_dict(self.model.state_dict())

    def _resume(self, path: str) -> None:
        content = read_checkpoint(path)
        resuming.check_config(self._given_cfg, path, resuming.next_iteration(content, path))
        self.origin = recorded_origin(content)
        self.start_iter = start = shares.settle_start(self.cfg, content, path)
        apply_weights(self.model, content, path, strict=True, use_ema=False, joints=self.joints, resume=True)
        if self.ema is not None:
            resuming.restore_averages(self.ema, content, path)
        resuming.restore_optimizer(self.optimizer, content, path)
        resuming.restore_schedule(self.scheduler, min(start, self.max_iter), content, path)
        resuming.restore_scaler(self.scaler, content, path)
        resuming.restore_hooks(self, content, path)
        if comm.is_main_process():
            self.run = content["run"] if isinstance(content.get("run"), str) else None
            self.best.resume(self.run)
            self.recent.resume(content.get("periodic"), self.start_iter)

    # ---------------------------------------------------------------- loop

    def train(self) -> Mapping[str, Any]:
        """Train to ``SOLVER.MAX_ITER``, then evaluate.

        Returns:
            The last evaluation's metrics, {} without one or on other processes than the first.

        Raises:
            DivergenceError: a loss became non-finite.
            ConfigError: another training is at work in ``OUTPUT_DIR``; or a key of ``TEST`` names no metric.
            SystemExit: with 128 + its number after a signal, when the checkpoint is saved; with 1 after the
                training, because a metric is not as ``TEST.EXPECTED_RESULTS`` says.
        """
        for check in (check_expected_names, check_best_name):
            check(self.cfg, self.evaluators_are_ours(self.cfg))
        if self.device.type == "cpu":
            keep_freed_memory()
        claim_output(self.cfg.OUTPUT_DIR, goes_on=self.start_iter > 0)  # where setup() was not called
        try:
            results = self._train()
        finally:
            lock.release(self.cfg.OUTPUT_DIR)
        check_expected_values(self.cfg, results)
        return results

    def _train(self) -> Mapping[str, Any]:
        if comm.is_main_process():
            remove_unfinished(self.cfg.OUTPUT_DIR)
            check_places(self.cfg.OUTPUT_DIR)
        self._begun = self.start_iter > 0
        if self._begun:
            lock.note(self.cfg.OUTPUT_DIR)
        self._run_model = create_ddp_model(self.model, broadcast_buffers=False)  # see share_buffers()
        tell_extent(self.start_iter, self.max_iter, self.optimizer.param_groups[0]["lr"])
        with self._stop, EventStorage(self.start_iter) as self.storage:
            loader: Iterable[list[dict]] | None = None
            self.iter = self.start_iter
            try:
                if self.start_iter < self.max_iter:
                    warn_of_schedule(self.cfg)
                    loader = self.build_train_loader(self.cfg) if self._made_first is None else self._made_first
                    if hasattr(loader, "start_at"):
                        loader.start_at(self.start_iter)
                    self._data = iter(loader)
                try:
                    self.before_train()
                    self._loop()
                finally:  # not where the data fail: hooks that were not started have nothing to end
                    self.after_train()
            finally:
                self._data, self._first_batch, self._made_first = iter(()), None, None
            report_data(loader)
        return self.results

    def _loop(self) -> None:
        self._leave_if_stopped()
        if self.start_iter >= self.max_iter:
            self.iter = self.saved_iter = self.start_iter - 1
            release_logs()
        try:
            if self.start_iter >= self.max_iter and self.cfg.DATASETS.TEST:
                self.evaluate()
            if self.start_iter < self.max_iter:
                self._first_batch = self._next_batch()
                self._leave_if_stopped()  # if not, every process has its batch
                take_over(self._given_cfg, anew=self.start_iter == 0)
                self._begun = True
            for iteration in range(self.start_iter, self.max_iter):
                self.iter = iteration
                self.before_step()
                self.run_step()
                self.after_step()
                if self._metrics.stop_agreed:
                    raise EvaluationStopped
            self.iter = max(self.start_iter, self.max_iter)
        except EvaluationStopped:
            self._stop_early()
        except LostWorkers as error:
            self._lost_worker(error)
        except RuntimeError as error:
            if not (self._stop.signum and is_lost_partner(error)):
                raise
            self._leave(self._stop.signum, f"in iteration {self.iter + 1}, as was another process")

    def _next_batch(self) -> list[dict]:
        if self._first_batch is not None:
            batch, self._first_batch = self._first_batch, None
            return batch
        # A signal may have come to the data-loading processes too. The batch is the same where it is made here.
        if self._stop.signum and hasattr(self._data, "make"):
            return self._data.make(self.iter)
        try:
            return next(self._data)
        except StopIteration:
            raise DataError(
                f"the loader of build_train_loader() ended at iteration {self.iter}; give one that is endless, such as "
                "Detectron2's build_detection_train_loader"
            ) from None
        except LostWorkers:
            if self._stop.signum and hasattr(self._data, "make"):
                return self._data.make(self.iter)
            self.iter -= 1  # the last one that was finished
            raise

    def _lost_worker(self, error: LostWorkers) -> NoReturn:
        """Data-loading processes, of training or of evaluation, cannot go on. That is told between two steps."""
        if self.iter < self.start_iter:
            raise error
        where = "from the last checkpoint"
        if comm.get_world_size() == 1:  # partners may be in the middle of their step
            if self.saved_iter != self.iter:
                self.save(periodic_name(self.iter))
            where = f"after iteration {self.iter + 1}, where all is saved,"
        if self._stop.signum:
            logger.info("Stopped by a signal; go on %s with the same command and --resume", where)
            sys.exit(self._stop.exit_code)
        raise DataError(f"{error}; then go on {where} with --resume") from error

    def run_step(self) -> None:
        """One iteration: data, forward, backward, clipping, update."""
        start = time.perf_counter()
        batch = self._next_batch()
        waited = time.perf_counter() - start
        # After the data, because starting a loader draws from torch's generator.
        seed_everything(self.seed, comm.get_rank(), self.iter)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.amp_dtype):
            losses = self._run_model(batch)
        total = sum(losses.values())
        self.scaler.scale(total).backward()
        norm = None
        if self.clip_gradients.enabled:
            self.scaler.unscale_(self.optimizer)
            norm = self.clip_gradients()
        metrics = self._metrics.put(
            {"total_loss": total, **losses},
            iteration=self.iter,
            file_names=[item.get("file_name", "?") for item in batch],
            # Under a scaler a gradient may overflow: the step is then skipped and the scale lowered.
            gradient_norm=None if self.scaler.is_enabled() else norm,
            wants_stop=self._stop.signum != 0,
        )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._note(metrics)
        self.storage.put_scalar("data_time", waited)
        self.storage.put_scalar("lr", self.optimizer.param_groups[0]["lr"], smoothing_hint=False)
        self.scheduler.step()

    def _note(self, metrics: Mapping[str, float] | None) -> None:
        for name, value in (metrics or {}).items():
            self.storage.put_scalar(name, value)

    def flush_metrics(self) -> None:
        """Bring in the numbers of the step under way. Collective with several processes.

        Raises:
            DivergenceError: they are not finite.
        """
        self._note(self._metrics.flush())

    def after_step(self) -> None:
        """Run the hooks, after the numbers they need have come in."""
        if hooks.is_due(self, self.cfg.SOLVER.LOG_PERIOD):
            self.flush_metrics()  # here, because all processes must take part, and only the first one writes
        super().after_step()

    def _stop_early(self) -> NoReturn:
        signum = max(comm.all_gather(self._stop.signum))
        if self.saved_iter != self.iter:
            self.save(periodic_name(self.iter))
        comm.synchronize()  # the launcher ends all when one has ended, also one that is still writing
        text = "Stopped by a signal: %d of %d iterations are done; all is saved in %s, go on with the same command and "
        text += "--resume"
        logger.info(text, self.iter + 1, self.max_iter, self.cfg.OUTPUT_DIR)
        sys.exit(128 + signum)

    def _leave_if_stopped(self) -> None:
        if signum := max(comm.all_gather(self._stop.signum)):
            self._leave(signum, "before the first iteration")

    def _leave(self, signum: int, when: str) -> NoReturn:
        """End where there is nothing new to save."""
        last = last_checkpoint(self.cfg.OUTPUT_DIR) if self._begun and comm.is_main_process() else None
        text = f"go on from {last} with the same command and --resume" if last else "nothing was saved yet"
        logger.info("Stopped by a signal %s; %s", when, text)
        sys.exit(128 + signum)

    # ---------------------------------------------------------------- evaluation, saving

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within the block the model has the averaged weights, if ``SOLVER.EMA`` is on.

        What the model derives from its weights is made anew for them, and afterwards for those under training. That
        also makes it a function of them alone, so that a run which is resumed from here goes on alike.
        """
        if self.ema is None:
            yield
            return
        try:
            with self.ema.swapped_in():
                prepare(self.model)  # its tables are averages too now, which are those of no density
                yield
        finally:  # also where the evaluation is stopped, after which the weights are saved
            prepare(self.model)

    def evaluate(self) -> None:
        """Evaluate the present weights (averaged with ``TEST.USE_EMA``) by :meth:`test`; ``results`` has the metrics.

        A file of metrics that cannot be written is a warning here: a full disk must not end the training.
        """
        self.flush_metrics()
        share_buffers(self.model)
        with self.averaged_weights() if self.cfg.TEST.USE_EMA else contextlib.nullcontext():
            share_buffers(self.model)
            try:
                with interruptible(self._stop), hooks.saved_is_told(self):
                    self.results = self.test(self.cfg, self.model) or {}
            except MetricsUnwritten as error:
                logger.warning("%s; going on without that file", error)
                self.results = error.results
        for name, value in flat_metrics(self.results).items():
            self.storage.put_scalar(name, value, smoothing_hint=False)
        self.best.after_evaluation(self)

    def save(self, name: str, *, latest: bool = True, **more: Any) -> None:
        """Save everything that ``--resume`` needs as ``OUTPUT_DIR/name``. Collective with several processes.

        Args:
            name: of the file.
            latest: whether ``--resume`` shall go on from it.
            more: entries beside ours.

        Raises:
            DivergenceError: the last loss or a weight is not finite; nothing is written.
            CheckpointError: the file cannot be written.
        """
        self.flush_metrics()
        check_finite_weights(self.model, self.iter)
        content: dict[str, Any] = {"iteration": self.iter, "seed": self.seed, "optimizer": self.optimizer.state_dict()}
        content["without_state"] = resuming.parameters_without_state(self.optimizer)
        content |= stating(self.origin) | shares.kept_of_processes(self.cfg) | resuming.kept_of_schedule(self.scheduler)
        content |= naming(self.joints, known_skeleton(self.cfg)) | resuming.kept_of_hooks(self)
        content["scaler"] = self.scaler.state_dict() if self.scaler.is_enabled() else {}
        with self.averaged_weights():
            content["model"] = {key: value.clone() for key, value in self.model.state_dict().items()}
        if self.ema is not None:
            content["raw"] = self.model.state_dict()
        if comm.is_main_process():
            content |= {"run": self.run, "periodic": self.recent.names_with(name)}
            save_checkpoint(self.cfg.OUTPUT_DIR, name, {**content, **more}, latest=latest)
            self.recent.saved(name)
        self.saved_iter = self.iter if latest else self.saved_iter
